// Package zfs speaks to OpenZFS. No other package does.
//
// A Handle is an open /dev/zfs. Its methods are requests: on properties, file systems,
// snapshots, holds, project quotas and pools. Functions without a Handle find the dataset
// of a path (IsZFS, DatasetOf), mount datasets (MountDataset), read counters and module
// parameters (ObjsetKstat, ModuleParam), and set project IDs of directories (SetProjectID).
//
// The package talks to the kernel and never to the zfs(8) command, so the plugin's image
// holds no userland and no version has to match. It does not know what a layer is, or what
// a dataset is used for.
//
// Names are checked before they reach the kernel. A refusal of ZFS is an *Error with a class
// of internal/fault; errors.Is finds the Err… values, the class and the errno.
//
// The files:
//
//   - abi.go: every number and offset of the kernel's interface
//   - zfs.go: the dataset of a path
//   - handle.go, probe.go: Open, and the check of the module's interface
//   - ioctl.go, cmd.go, change.go: how a request is made; zfs/nvlist has its argument's format
//   - errors.go, errno.go: errors
//   - dataset.go, list.go, property.go, words.go, setprop.go, name.go: datasets and properties
//   - create.go, destroy.go, mount.go: file systems
//   - snapshot.go, hold.go, send.go, receive.go, stream.go, pipe.go: snapshots and streams
//   - pool.go, device.go, feature.go, sync.go, kstat.go: pools, counters, parameters
//   - project.go, projectid.go: project quotas
package zfs
