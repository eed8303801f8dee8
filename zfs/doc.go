// Package zfs is what the driver knows of OpenZFS, and the only place that
// speaks to it.
//
// A Handle is an open /dev/zfs and has the requests on datasets: their
// properties, file systems made and destroyed, snapshots and holds, project
// quotas, pools. Without a Handle: which file systems are ZFS and which dataset
// one is (IsZFS, DatasetOf), how a dataset is mounted (MountDataset), counters
// and module parameters (ObjsetKstat, ModuleParam), project IDs of directories
// (SetProjectID).
//
// It talks to the kernel and never to the zfs(8) command: the plugin's image
// holds no userland, and nothing has to match a version. Numbers and offsets
// of that interface are in abi.go; the format of arguments is in zfs/nvlist.
// What a layer is, and what a dataset is used for, is not known here.
//
// Names are checked before they reach the kernel. Errors are *Error for what
// ZFS refused, and carry a class of internal/fault; errors.Is finds the Err…
// values, the class and the errno.
package zfs
