package host

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/versions"
	"github.com/overlayzfs/overlayzfs/operator/configfile"
	"github.com/overlayzfs/overlayzfs/operator/containerd"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/services"
)

// SnapshotterFacts are those of the snapshotter and of its containerd.
type SnapshotterFacts struct {
	Config configfile.File // snapshotter.toml
	// Main is containerd's configuration, and DropIn the file that setup adds to it. Without is
	// the configuration without that file.
	Main, DropIn configfile.File
	Without      containerdconf.Config
	// ReadOnly says why a file cannot be written, by its path.
	ReadOnly map[string]string
	Address  string // containerd's socket
	Modern   bool   // containerd is version 2 or later
	Loaded   bool   // containerd has loaded the snapshotter
	RemapIDs bool   // the kernel and the module map owners by mounts

	settings snapshotterConfig
}

// dropInPattern is what containerd's configuration imports. A pattern, unlike a file's name, may
// match nothing: containerd does not start without a file that is imported by its name.
const dropInPattern = "conf.d/overlayzfs*.toml"

// containerdDropIn returns the path of the file that setup adds to containerd's configuration.
func containerdDropIn(config string) string {
	return filepath.Join(filepath.Dir(config), "conf.d/overlayzfs.toml")
}

// GatherServices reads the state of the services and, for the snapshotter, the files that they
// read. It needs Engine, which may be nil. Without a systemd it reads nothing.
func (f *Facts) GatherServices(ctx context.Context, w Request) (err error) {
	if w.Services == nil {
		return nil
	}
	f.Units = map[string]services.State{}
	for _, unit := range []string{services.Docker, services.Containerd, services.Snapshotter} {
		if f.Units[unit], err = w.Services.State(ctx, unit); err != nil {
			return err
		}
	}
	if f.NoDocker = !f.Units[services.Docker].Loaded && f.Engine == nil; f.NoDocker {
		f.RootHasContent = true // nothing is mounted there
	}
	if w.Door != Snapshotter || !f.Units[services.Snapshotter].Loaded || !f.usesHostContainerd() {
		return nil
	}
	s := &SnapshotterFacts{ReadOnly: map[string]string{}, RemapIDs: mapsOwners(f.Module), Address: containerd.DefaultAddress}
	f.Snapshotter = s
	return errors.Join(s.readFiles(w), s.askContainerd(ctx, w))
}

// usesHostContainerd reports whether the containerd is that of the host's unit, whose configuration
// is known. dockerd can start one of its own.
func (f *Facts) usesHostContainerd() bool {
	if !f.Units[services.Containerd].Loaded {
		return false
	}
	return f.Engine == nil || f.Engine.Info.Containerd == "" || resolve(f.Engine.Info.Containerd) == resolve(containerd.DefaultAddress)
}

func (s *SnapshotterFacts) readFiles(w Request) (err error) {
	for path, file := range map[string]*configfile.File{w.SnapshotterConfig: &s.Config, w.Containerd: &s.Main, containerdDropIn(w.Containerd): &s.DropIn} {
		if *file, err = configfile.Load(path); err != nil {
			return err
		}
		if s.ReadOnly[file.Path], err = file.WhyReadOnly(); err != nil {
			return err
		}
	}
	if s.settings, err = readSnapshotter(w.SnapshotterConfig); err != nil {
		return err
	}
	s.Without, err = containerdconf.ReadWithout(w.Containerd, s.DropIn.Path)
	return err
}

func (s *SnapshotterFacts) askContainerd(ctx context.Context, w Request) (err error) {
	client, err := containerd.Connect(s.Address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if s.Modern, err = client.IsModern(ctx); err != nil {
		return fault.NewWithRemedy(fault.Busy, "containerd does not answer: %w: start it with `systemctl start %s`", err, services.Containerd)
	}
	s.Loaded, err = client.HasSnapshotter(ctx, w.Driver)
	return err
}

// HasLoaded reports whether the host's containerd answers, and has loaded a snapshotter.
func HasLoaded(ctx context.Context, name string) bool {
	client, err := containerd.Connect(containerd.DefaultAddress)
	if err != nil {
		return false
	}
	has, err := client.HasSnapshotter(ctx, name)
	return errors.Join(err, client.Close()) == nil && has
}

// wanted returns what containerd's configuration has to have.
func (s *SnapshotterFacts) wanted(w Request) containerdconf.Wanted {
	return containerdconf.Wanted{
		Name: w.Driver, Socket: cmp.Or(s.settings.Socket, defaultSocket), Root: cmp.Or(s.settings.Root, defaultSnapshotterRoot),
		Pods: w.Pods, Modern: s.Modern, RemapIDs: s.RemapIDs,
	}
}

// mapsOwners reports whether this kernel and a version of the module map owners by mounts.
func mapsOwners(module string) bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	kernel, kernelKnown := versions.Parse(unix.ByteSliceToString(name.Release[:]))
	v, known := versions.Parse(module)
	return kernelKnown && known && !kernel.IsBefore(versions.Version{5, 19, 0}) && !v.IsBefore(versions.Version{2, 2, 0})
}
