package zfs

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SetProjectID gives a file or directory a project ID. With inherit, new regular files and
// directories in a directory get the same ID; existing ones keep theirs. Another file system
// than ZFS may return ErrUnsupported. The caller needs CAP_FOWNER or ownership.
// (FS_IOC_FSSETXATTR. The inherit flag is 0x200 from OpenZFS 2.2.9, 2.3.5 and
// 2.4.0 on, and 0x20000000 before; both are tried.)
func SetProjectID(f *os.File, id uint32, inherit bool) error {
	const op = "set project ID of"
	var attr fsxattr
	errno := attr.call(f, fsGetXattr)
	if errno != 0 {
		return projectFailure(op, f, errno)
	}
	flags := attr.flags() &^ (projInheritVFS | projInheritOld)
	le.PutUint32(attr[offFsxattrProjID:], id)
	for _, flag := range []uint32{projInheritVFS, projInheritOld} {
		if inherit {
			attr.setFlags(flags | flag)
		} else {
			attr.setFlags(flags)
		}
		if errno = attr.call(f, fsSetXattr); errno != unix.EOPNOTSUPP {
			break
		}
	}
	if errno != 0 {
		return projectFailure(op, f, errno)
	}
	return nil
}

// ProjectID returns the project ID of a file or directory, and whether new
// files in it inherit it. (FS_IOC_FSGETXATTR.)
func ProjectID(f *os.File) (id uint32, inherit bool, err error) {
	var attr fsxattr
	if errno := attr.call(f, fsGetXattr); errno != 0 {
		return 0, false, projectFailure("get project ID of", f, errno)
	}
	inherit = attr.flags()&(projInheritVFS|projInheritOld) != 0
	return le.Uint32(attr[offFsxattrProjID:]), inherit, nil
}

// fsxattr is a struct fsxattr.
type fsxattr [sizeFsxattr]byte

func (a *fsxattr) flags() uint32     { return le.Uint32(a[offFsxattrFlags:]) }
func (a *fsxattr) setFlags(n uint32) { le.PutUint32(a[offFsxattrFlags:], n) }

func (a *fsxattr) call(f *os.File, req uintptr) unix.Errno {
	raw, err := f.SyscallConn()
	if err != nil {
		return unix.EBADF
	}
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, req, uintptr(unsafe.Pointer(a)))
	})
	if err != nil {
		return unix.EBADF
	}
	return errno
}

// projectFailure returns the error of a request on a file.
func projectFailure(op string, f *os.File, errno unix.Errno) error {
	e := failure(op, "", errno)
	if f != nil {
		e.Name = f.Name()
	}
	if errors.Is(e, unix.ENOTTY) || errno == unix.EOPNOTSUPP {
		e.Kind = ErrUnsupported
		e.reason = "its file system knows no project IDs"
		e.remedy = "use a dataset of a pool with the feature project_quota"
	}
	return e
}
