package zfs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Errnos of OpenZFS's own that the package tells apart (zfs_errno_t of
// include/sys/fs/zfs.h).
const (
	errCmdUnavail    unix.Errno = 1029 // ZFS_ERR_IOC_CMD_UNAVAIL
	errArgUnavail    unix.Errno = 1030 // ZFS_ERR_IOC_ARG_UNAVAIL
	errArgRequired   unix.Errno = 1031 // ZFS_ERR_IOC_ARG_REQUIRED
	errArgBadType    unix.Errno = 1032 // ZFS_ERR_IOC_ARG_BADTYPE
	errStreamUnknown unix.Errno = 1037 // ZFS_ERR_UNKNOWN_SEND_STREAM_FEATURE
	errExporting     unix.Errno = 1038 // ZFS_ERR_EXPORT_IN_PROGRESS
	errTruncated     unix.Errno = 1040 // ZFS_ERR_STREAM_TRUNCATED
	errBadProp       unix.Errno = 1044 // ZFS_ERR_BADPROP
	errNotUserNS     unix.Errno = 1046 // ZFS_ERR_NOT_USER_NAMESPACE
	errResumeExists  unix.Errno = 1047 // ZFS_ERR_RESUME_EXISTS
)

// firstZFSErrno is where zfs_errno_t begins.
const firstZFSErrno unix.Errno = 1024

// errnoText describes errnos for which unix has no text, or only one about files.
var errnoText = map[unix.Errno]string{
	unix.ENOENT:      "does not exist",
	unix.EEXIST:      "already exists",
	unix.EBUSY:       "is in use",
	unix.EXDEV:       "lies in another pool, or is one of two snapshots of one dataset",
	1024:             "the pool has a checkpoint",
	1025:             "a checkpoint is being discarded",
	1026:             "the pool has no checkpoint",
	1027:             "a device is being removed",
	1028:             "a device is too big",
	errCmdUnavail:    "the zfs module does not know this request",
	errArgUnavail:    "the zfs module does not know an argument of this request",
	errArgRequired:   "the zfs module misses an argument of this request",
	errArgBadType:    "the zfs module wants another type of argument in this request",
	1033:             "the parent dataset is of another kind",
	errStreamUnknown: "the stream has a feature that this zfs module does not know",
	errExporting:     "the pool is being exported",
	errTruncated:     "the stream ends too early",
	1042:             "a resilver is in progress",
	1043:             "a rebuild is in progress",
	errBadProp:       "a property's value is not allowed",
	1045:             "the device does not support this",
	errNotUserNS:     "not a user name space",
	errResumeExists:  "an interrupted receive has left its state",
	1048:             "the encryption parameters are not supported",
	1049:             "a raidz expansion is in progress",
}

// describe returns the text of an errno.
func describe(errno unix.Errno) string {
	if text, ok := errnoText[errno]; ok {
		return text
	}
	if errno >= firstZFSErrno {
		return fmt.Sprintf("OpenZFS error %d", int(errno))
	}
	return errno.Error()
}
