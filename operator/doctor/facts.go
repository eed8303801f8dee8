package doctor

import (
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Facts is what is known about a host. A fact that could not be read is nil or has an
// error.
type Facts struct {
	Kernel    string // uname's release
	Overlay   bool   // the kernel has overlayfs, or its module can be loaded
	Module    string // the zfs module's version
	ModuleErr error
	DeviceErr error // of opening /dev/zfs
	Device    bool  // opening it was tried

	Dataset    string // empty when none was found
	DatasetErr error
	// InPlace is set when the store lies in Docker's data-root, on the same dataset.
	InPlace bool
	// RootMounted is set when Docker's data-root is the mount point of a dataset.
	RootMounted bool
	Stats       *zfs.Dataset
	Pool        *zfs.Pool
	// Devices are those of the pool.
	Devices []zfs.Device

	Memory     Memory
	SolidState bool // no disk of the host rotates

	Docker Docker
	// Containerd is nil for a plugin's store.
	Containerd *Containerd
	Store      *Store
	Probe      *Probe
}

// Memory is the host's memory and the ARC's share of it, in bytes.
type Memory struct {
	Total  uint64
	ARCMax uint64 // 0 when it is not known
}

// Docker is how Docker is configured, and the engine that runs.
type Docker struct {
	Root        string // the data-root
	Units       []Unit // that start with the datasets; none without systemd
	ConfigFile  string
	Config      dockerconf.Config
	ConfigErr   error
	OptionsErr  error // of the driver's storage options
	LocationErr error // of finding the store
	Driver      string
	Plugin      *dockerstore.Plugin
	PluginErr   error  // of looking for the plugin
	Command     string // the version of the operator's command
	Packaged    string // where a package has put the plugin; empty: nowhere
	Engine      *Engine
	Migration   *Migration

	MigrationErr error // of its journal
}

// Migration is a started and unfinished migration between storage drivers.
type Migration struct {
	From, To, Phase string
	Done            bool   // only `migrate --finish` is left
	Switching       bool   // Docker's records may name either driver
	Undoable        bool   // it can be undone instead
	Next            string // the command that continues it
}

// Engine is what a running dockerd reports about itself.
type Engine struct {
	Version    string
	Driver     string
	Deprecated bool // its environment allows graphdriver plugins where they are deprecated
}

// Store is the state of the store.
type Store struct {
	Err      error
	Engine   string // Docker or containerd; empty is Docker
	Unknown  int    // layers that the engine does not know
	Missing  int    // layers that only the engine knows
	Damaged  int    // layers that are damaged
	Removing int    // whose files are still being deleted
	Rollback string // one that was cut short
	// RollbackFlags are the flags that continue it.
	RollbackFlags string
	Receiving     string   // a stream whose receive was cut short
	Scratch       []string // datasets that an earlier doctor left
	Removed       int      // datasets of removed containers, which snapshots keep
	Mounts        []string // that an earlier command left
	Warnings      int      // records of the engine that cannot be read
	// Running is a command that changes something and has not ended: what it has begun is
	// not judged.
	Running string
}

// Probe is the result of RunProbe.
type Probe struct {
	Err    error
	CopyUp overlayzfs.CopyUp
	Sync   string
	Quota  string // the mechanism that enforces limits, and why
}
