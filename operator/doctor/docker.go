package doctor

import (
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
)

// daemonJSON looks at dockerd's configuration.
func daemonJSON(f Facts) []Finding {
	const check = "daemon.json"
	d := f.Docker
	switch {
	case d.ConfigErr != nil:
		return []Finding{{check, Broken, d.ConfigErr.Error(), "dockerd does not start with it", "python3 -m json.tool " + d.ConfigFile + "    # shows the place; mend it there"}}
	case d.Config.UsernsRemap != "":
		return []Finding{{check, Broken, "userns-remap=" + d.Config.UsernsRemap, "with a managed plugin a remapped container's runtime cannot reach its layers", "remove \"userns-remap\" from " + d.ConfigFile}}
	case d.OptionsErr != nil:
		return []Finding{{check, Broken, d.OptionsErr.Error(), "the driver refuses to start with it", "mend the storage options in " + d.ConfigFile + " or with `docker plugin set`"}}
	case d.Config.StorageDriver == d.Driver && !d.Config.Experimental && !modern(d):
		return []Finding{{check, Broken, "\"experimental\" is not true", "dockerd takes a plugin as its storage driver only then", prepare(f) + "    # then: systemctl restart docker"}}
	case d.Config.StorageDriver == "":
		return []Finding{{check, Note, "no storage-driver", "dockerd chooses one of its own, and not overlayzfs", prepare(f)}}
	}
	return ok(check, "storage-driver="+d.Config.StorageDriver)
}

// prepare is the command that makes of daemon.json what it should be.
func prepare(f Facts) string {
	dataset := f.Dataset
	if dataset == "" {
		dataset = "POOL/NAME"
	}
	way := "plugin"
	if modern(f.Docker) {
		way = "snapshotter"
	}
	return "overlayzfs setup --way " + way + " --dataset " + dataset + f.Docker.flags()
}

// flags are those that the operator's commands need to find the same host.
func (d Docker) flags() (flags string) {
	if d.ConfigFile != "" && d.ConfigFile != dockerconf.DefaultFile {
		flags += " --config-file " + d.ConfigFile
	}
	if d.Driver != "" && d.Driver != "overlayzfs" {
		flags += " --driver " + d.Driver
	}
	return flags
}

// modern reports whether the engine is one that has no graphdriver plugins.
func modern(d Docker) bool {
	if d.Config.Features["containerd-snapshotter"] {
		return true
	}
	if d.Engine == nil {
		return false
	}
	v, ok := parse(d.Engine.Version)
	return ok && !v.before(pluginsGone)
}

// plugged looks at the managed plugin.
func plugged(f Facts) []Finding {
	const check = "plugin"
	d := f.Docker
	wanted := d.Config.StorageDriver == d.Driver && d.ConfigErr == nil
	switch {
	case modern(d) || d.ConfigErr != nil:
		return nil
	case d.Plugin == nil && wanted:
		return []Finding{{check, Broken, "no plugin " + d.Driver + " is installed", "dockerd does not start with a storage driver that it does not have", withoutUs(d.ConfigFile) + "; " + d.create() + "; docker plugin enable " + d.Driver + "; " + withUs}}
	case d.Plugin == nil:
		return []Finding{{check, Note, "not installed", "", d.create()}}
	case !d.Plugin.Enabled && wanted:
		return []Finding{{check, Broken, d.Plugin.Name + " is disabled", "dockerd refuses to start: \"found but disabled\"", rescue(d)}}
	case !d.Plugin.Enabled:
		return []Finding{{check, Note, d.Plugin.Name + " is disabled", "it has to be enabled before it becomes the storage driver", "docker plugin enable " + d.Plugin.Name}}
	}
	return ok(check, d.Plugin.Name+" is enabled")
}

// create hands the plugin to a running engine.
func (d Docker) create() string {
	if d.Packaged == "" {
		return "make plugin; docker plugin create " + d.Driver + " build/plugin"
	}
	return "docker plugin create " + d.Driver + " " + d.Packaged
}

func rescue(d Docker) string {
	return withoutUs(d.ConfigFile) + "; docker plugin enable " + d.Plugin.Name + "; " + withUs
}

// withoutUs starts dockerd by a driver that is always there. It would refuse our
// options.
func withoutUs(config string) string {
	return "in " + config + " set \"storage-driver\": \"vfs\" and take \"storage-opts\" out; systemctl start docker"
}

// withUs puts back what withoutUs has changed.
const withUs = "set both back; systemctl restart docker"

// migration looks for one that is not finished.
func migration(f Facts) []Finding {
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

// engine looks at the version of a running dockerd, and which way in fits it.
func engine(f Facts) []Finding {
	const check = "dockerd"
	e := f.Docker.Engine
	if e == nil {
		return []Finding{{check, Note, "does not answer", "it is stopped, or not here; its version is not known then", "systemctl status docker"}}
	}
	v, readable := parse(e.Version)
	switch {
	case !readable:
		return []Finding{{check, Note, "version " + e.Version, "it cannot be read", ""}}
	case v.before(pluginsFirst):
		return []Finding{{check, Warning, "version " + e.Version, "overlayzfs was made for Docker 20.10 and later", "install a newer Docker"}}
	case !v.before(pluginsGone):
		return wayInOfToday(f)
	case !v.before(pluginsGated) && !e.Deprecated:
		return []Finding{{check, Broken, "version " + e.Version, "it takes graphdriver plugins only with DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1 in its environment",
			"mkdir -p /etc/systemd/system/docker.service.d; printf '[Service]\\nEnvironment=DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1\\n' >/etc/systemd/system/docker.service.d/overlayzfs.conf; systemctl daemon-reload; systemctl restart docker"}}
	}
	return ok(check, "version "+e.Version+", by the managed plugin; it uses "+e.Driver)
}

// wayInOfToday is that of engines that have no graphdriver plugins.
func wayInOfToday(f Facts) []Finding {
	e := f.Docker.Engine
	if f.Docker.Config.Features["containerd-snapshotter"] && strings.Contains(e.Driver, f.Docker.Driver) {
		return ok("dockerd", "version "+e.Version+", by the snapshotter")
	}
	return []Finding{{"dockerd", Broken, "version " + e.Version, "Docker 28 and later have no graphdriver plugins; the way in is the containerd snapshotter", prepare(f) + "    # and what it says is left to do; docs/containerd.md has all of it"}}
}
