package host

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/configfile"
	"github.com/overlayzfs/overlayzfs/operator/services"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// SystemdDir is the directory of the administrator's units.
const SystemdDir = "/etc/systemd/system"

// dropIn is the name of the file that setup adds to a unit.
const dropIn = "overlayzfs.conf"

// bootUnits are the units after which pools are imported, keys loaded and datasets mounted,
// as OpenZFS and distributions name them. systemd ignores those that a host does not have.
const bootUnits = "zfs-import.target zfs-load-key.service zfs-mount.service"

// dropInHead is the first line of a file that setup has written.
const dropInHead = "# Written by `overlayzfs setup`.\n"

// DropIn is a file of setup beside a systemd unit.
type DropIn struct {
	Path string
	Raw  []byte // nil when there is no file
	// ReadOnly says why the file cannot be written, or is empty.
	ReadOnly string
}

// dropInUnits returns the units that get a drop-in.
func dropInUnits(w Request) []string {
	if w.Door == Snapshotter {
		return []string{services.Docker, services.Snapshotter}
	}
	return []string{services.Docker}
}

// readDropIns reads the drop-ins of setup. It returns none on a host without systemd.
func readDropIns(w Request) (all map[string]DropIn, err error) {
	if _, err := os.Stat(w.Systemd); w.Systemd == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	all = map[string]DropIn{}
	for _, name := range dropInUnits(w) {
		d := DropIn{Path: filepath.Join(w.Systemd, name+".d", dropIn)}
		if d.Raw, err = os.ReadFile(d.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if d.ReadOnly, err = atomicfile.WhyReadOnly(d.Path); err != nil {
			return nil, err
		}
		all[name] = d
	}
	return all, nil
}

// planBoot plans the order at boot: neither dockerd nor the snapshotter starts before its
// datasets can be used. dockerd does not start at all while the datasets of its data-root are
// not mounted, because it would begin an empty one below them.
func (p *Plan) planBoot(f Facts, w Request) error {
	for _, name := range dropInUnits(w) {
		if f.NoDocker && name == services.Docker {
			continue
		}
		want := p.dropInText(f, w, name)
		d, there := f.DropIns[name]
		if f.Units != nil && !f.Units[name].Loaded && name == services.Docker {
			there = false // the dockerd that answers is another unit's, or none's
		}
		switch {
		case bytes.Equal(d.Raw, want):
		case !there:
			p.bootText = "At boot dockerd has to start after pools are imported and datasets mounted. With systemd, a drop-in of its unit does that:\n    " + indentText(want)
			return nil
		case d.ReadOnly != "":
			p.addRemaining("%s cannot be written (%s). Give the unit %s these settings by your system's own means:\n    %s", d.Path, d.ReadOnly, name, indentText(want))
		default:
			p.writeDropIn(w, d, name, want)
		}
	}
	return nil
}

func (p *Plan) writeDropIn(w Request, d DropIn, name string, want []byte) {
	p.reload = true
	file := configfile.File{Path: d.Path, Raw: d.Raw, Exists: d.Raw != nil}
	undo, backup, before := "rm "+d.Path, "", ""
	if file.Exists {
		backup, before = file.BackupName(), setuplog.Digest(d.Raw)
		undo = "mv " + backup + " " + d.Path
	}
	if w.Services != nil {
		undo += "; systemctl daemon-reload"
	}
	p.addStep(func(ctx context.Context, _ *zfs.Handle) error {
		now, err := configfile.Load(d.Path)
		if err == nil && !bytes.Equal(now.Raw, d.Raw) {
			err = fault.NewWithRemedy(fault.Busy, "%s was changed meanwhile, and is left as it is now: run the command again", d.Path)
		}
		if err == nil {
			err = now.Replace(want, backup)
		}
		if err == nil && w.Services != nil {
			err = w.Services.Reload(ctx)
		}
		return err
	}, undo, "write %s: %s starts after ZFS has imported, unlocked and mounted its datasets", d.Path, name)
	p.addRecords(append(newDirs(filepath.Dir(d.Path)), setuplog.Record{
		Kind: setuplog.File, Path: d.Path, Before: before, After: setuplog.Digest(want), Backup: backup, Service: name,
	})...)
}

// dropInText returns the drop-in of a unit.
func (p *Plan) dropInText(f Facts, w Request, name string) []byte {
	text := &strings.Builder{}
	text.WriteString(dropInHead + "[Unit]\nAfter=" + bootUnits)
	for _, root := range encryptionRoots(f, w) { // of zfs-mount-generator(8)
		text.WriteString(" zfs-load-key@" + unit.UnitNameEscape(root) + ".service")
	}
	text.WriteString("\n")
	if name != services.Docker {
		return []byte(text.String())
	}
	if w.hasDataRoot(f) || f.RootOn != "" {
		text.WriteString("RequiresMountsFor=" + quotePath(w.Root) + "\nAssertPathIsMountPoint=" + quotePath(w.Root) + "\n")
	}
	if p.volumesApart || f.VolumesOn != "" {
		text.WriteString("AssertPathIsMountPoint=" + quotePath(w.volumesDir()) + "\n")
	}
	if w.Door == Plugin { // Docker 27 asks for it, and other versions ignore it
		text.WriteString("\n[Service]\nEnvironment=DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1\n")
	}
	return []byte(text.String())
}

// quotePath escapes the signs that systemd's unit files give a meaning.
func quotePath(path string) string {
	return strings.NewReplacer(`\`, `\\`, "%", "%%", " ", `\x20`).Replace(path)
}

// encryptionRoots returns the datasets whose keys have to be loaded.
func encryptionRoots(f Facts, w Request) (roots []string) {
	seen := map[string]bool{"": true}
	for _, name := range []string{w.Parent, w.Layers} {
		d, there := f.Datasets[name]
		if above := f.Above[name]; !there && above != nil {
			d = above.Dataset
		}
		if root := encryptionRoot(d); !seen[root] {
			seen[root], roots = true, append(roots, root)
		}
	}
	return roots
}

// indentText formats a drop-in for the list of what a person has to do.
func indentText(raw []byte) string {
	text := strings.TrimPrefix(string(raw), dropInHead)
	return strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(text), "\n\n", "\n"), "\n", "\n    ")
}
