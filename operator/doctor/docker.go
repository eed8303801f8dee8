package doctor

import (
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
)

// checkDaemonJSON checks dockerd's configuration.
func checkDaemonJSON(f Facts) []Finding {
	const check = "daemon.json"
	d := f.Docker
	switch {
	case d.ConfigErr != nil:
		return []Finding{{check, Broken, d.ConfigErr.Error(), "dockerd does not start with it", "python3 -m json.tool " + d.ConfigFile + "    # shows the place; mend it there"}}
	case d.Config.UsernsRemap != "":
		return []Finding{{check, Broken, "userns-remap=" + d.Config.UsernsRemap, "with a managed plugin a remapped container's runtime cannot reach its layers", "remove \"userns-remap\" from " + d.ConfigFile}}
	case d.OptionsErr != nil:
		return []Finding{{check, Broken, d.OptionsErr.Error(), "the driver refuses to start with it", "mend the storage options in " + d.ConfigFile + " or with `docker plugin set`"}}
	case d.Config.StorageDriver == d.Driver && !d.Config.Experimental && !isModern(d):
		return []Finding{{check, Broken, "\"experimental\" is not true", "dockerd takes a plugin as its storage driver only then", setupCommand(f) + "    # then: systemctl restart docker"}}
	case d.Config.StorageDriver == "":
		return []Finding{{check, Note, "no storage-driver", "dockerd chooses one of its own, and not overlayzfs", setupCommand(f)}}
	}
	return okFinding(check, "storage-driver="+d.Config.StorageDriver)
}

// setupCommand returns the command that corrects daemon.json.
func setupCommand(f Facts) string {
	dataset := f.Dataset
	if dataset == "" {
		dataset = "POOL/NAME"
	}
	way := "plugin"
	if isModern(f.Docker) {
		way = "snapshotter"
	}
	return "overlayzfs setup --way " + way + " --dataset " + dataset + f.Docker.commandFlags()
}

// commandFlags returns the flags that overlayzfs's commands need to find the same store.
func (d Docker) commandFlags() (flags string) {
	if d.ConfigFile != "" && d.ConfigFile != dockerconf.DefaultFile {
		flags += " --config-file " + d.ConfigFile
	}
	if d.Driver != "" && d.Driver != "overlayzfs" {
		flags += " --driver " + d.Driver
	}
	return flags
}

// isModern reports whether the engine has no graphdriver plugins.
func isModern(d Docker) bool {
	if d.Config.Features["containerd-snapshotter"] {
		return true
	}
	if d.Engine == nil {
		return false
	}
	v, ok := parseVersion(d.Engine.Version)
	return ok && !v.isBefore(pluginsGone)
}

// checkPlugin checks the managed plugin.
func checkPlugin(f Facts) []Finding {
	const check = "plugin"
	d := f.Docker
	wanted := d.Config.StorageDriver == d.Driver && d.ConfigErr == nil
	switch {
	case isModern(d) || d.ConfigErr != nil || d.Plugin == nil && d.PluginErr != nil:
		return nil
	case d.Plugin == nil && wanted:
		return []Finding{{check, Broken, "no plugin " + d.Driver + " is installed", "dockerd does not start with a storage driver that it does not have", switchToVFS(d.ConfigFile) + "; " + d.createCommand() + "; docker plugin enable " + d.Driver + "; " + switchBack}}
	case d.Plugin == nil:
		return []Finding{{check, Note, "not installed", "", d.createCommand()}}
	case !d.Plugin.Enabled && wanted:
		return []Finding{{check, Broken, d.Plugin.Name + " is disabled", "dockerd refuses to start: \"found but disabled\"", "systemctl stop docker.socket docker; overlayzfs plugin enable" + d.commandFlags() + "; systemctl start docker"}}
	case !d.Plugin.Enabled:
		return []Finding{{check, Note, d.Plugin.Name + " is disabled", "it has to be enabled before it becomes the storage driver", "docker plugin enable " + d.Plugin.Name}}
	}
	return append(okFinding(check, d.Plugin.Name+" is enabled"), checkPluginKind(f)...)
}

// checkPluginKind checks what an enabled plugin is: its version, and where its layers lie.
func checkPluginKind(f Facts) (found []Finding) {
	d := f.Docker
	if v := d.Plugin.Version; v != "" && d.Command != "" && v != d.Command {
		found = append(found, Finding{"versions", Note, fmt.Sprintf("the plugin is %s, this command is %s", v, d.Command), "a package upgrades the command alone, and one of them may not know what the other writes", "overlayzfs plugin upgrade" + d.commandFlags()})
	}
	if f.InPlace {
		found = append(found, Finding{"in place", Note, "the layers lie in the plugin's directory, " + d.Plugin.Mount, "`docker plugin rm`, also with -f, deletes them", "overlayzfs plugin upgrade" + d.commandFlags() + "    # upgrades without removing; never type docker plugin rm"})
	}
	return found
}

// createCommand returns the command that creates the plugin in a running engine.
func (d Docker) createCommand() string {
	if d.Packaged == "" {
		return "make plugin; docker plugin create " + d.Driver + " build/plugin"
	}
	return "docker plugin create " + d.Driver + " " + d.Packaged
}

// switchToVFS says how to start dockerd with a driver that always exists. It would refuse
// our options.
func switchToVFS(config string) string {
	return "in " + config + " set \"storage-driver\": \"vfs\" and take \"storage-opts\" out; systemctl start docker"
}

// switchBack says how to revert switchToVFS.
const switchBack = "set both back; systemctl restart docker"

// checkMigration finds an unfinished migration.
func checkMigration(f Facts) []Finding {
	const check = "migration"
	if err := f.Docker.MigrationErr; err != nil {
		return []Finding{{check, Broken, err.Error(), "a migration was begun, and cannot be gone on with", "bring the file back from a backup or a snapshot of the data-root"}}
	}
	m := f.Docker.Migration
	if m == nil {
		return nil
	}
	way := " from " + m.From + " to " + m.To
	next := m.Next
	if file := f.Docker.ConfigFile; file != "" && file != dockerconf.DefaultFile {
		next += " --config-file " + file
	}
	next += "    # dockerd stopped"
	if m.Undoable {
		next += "; `overlayzfs migrate --undo` goes back"
	}
	found := "a migration" + way + " was cut short; it is " + m.Phase
	switch {
	case m.Done:
		return []Finding{{check, Note, "the migration" + way + " is not finished", "what an undo needs is kept, and takes space", next}}
	case m.Switching:
		return []Finding{{check, Broken, found, "Docker's records may name either driver: dockerd is not to be started before", next}}
	}
	return []Finding{{check, Warning, found, "what Docker makes meanwhile can keep it from going on", next}}
}

// checkEngine checks the version of a running dockerd and the door that fits it.
func checkEngine(f Facts) []Finding {
	const check = "dockerd"
	e := f.Docker.Engine
	if e == nil {
		return []Finding{{check, Note, "does not answer", "it is stopped, or not here; its version is not known then", "systemctl status docker"}}
	}
	v, readable := parseVersion(e.Version)
	switch {
	case !readable:
		return []Finding{{check, Note, "version " + e.Version, "it cannot be read", ""}}
	case v.isBefore(pluginsFirst):
		return []Finding{{check, Warning, "version " + e.Version, "overlayzfs was made for Docker 20.10 and later", "install a newer Docker"}}
	case !v.isBefore(pluginsGone):
		return checkSnapshotterDoor(f)
	case !v.isBefore(pluginsGated) && !e.Deprecated:
		return []Finding{{check, Broken, "version " + e.Version, "it takes graphdriver plugins only with DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1 in its environment",
			"mkdir -p /etc/systemd/system/docker.service.d; printf '[Service]\\nEnvironment=DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1\\n' >/etc/systemd/system/docker.service.d/graphdriver-plugins.conf; systemctl daemon-reload; systemctl restart docker"}}
	}
	return okFinding(check, "version "+e.Version+", by the managed plugin; it uses "+e.Driver)
}

// checkSnapshotterDoor checks an engine that has no graphdriver plugins.
func checkSnapshotterDoor(f Facts) []Finding {
	e := f.Docker.Engine
	if f.Docker.Config.Features["containerd-snapshotter"] && strings.Contains(e.Driver, f.Docker.Driver) {
		return okFinding("dockerd", "version "+e.Version+", by the snapshotter")
	}
	return []Finding{{"dockerd", Broken, "version " + e.Version, "Docker 28 and later have no graphdriver plugins; the way in is the containerd snapshotter", setupCommand(f) + "    # and what it says is left to do; docs/containerd.md has all of it"}}
}
