package mount

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// mountStepwise mounts with fsopen, fsconfig, fsmount and move_mount, and one fsconfig call
// for each lower directory. fsconfig takes values of at most 256 bytes (fs/fsopen.c, Linux
// 6.12); relative paths are shorter.
func (m Mount) mountStepwise() error {
	fsfd, err := unix.Fsopen(m.Type, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return m.newError("fsopen", err, -1)
	}
	defer unix.Close(fsfd)
	if err := m.configure(fsfd); err != nil {
		return err
	}
	mfd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return m.newError("fsmount", err, fsfd)
	}
	defer unix.Close(mfd)
	if err := unix.MoveMount(mfd, "", unix.AT_FDCWD, m.Target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return m.newError("move_mount", err, -1)
	}
	return nil
}

func (m Mount) configure(fsfd int) error {
	if err := unix.FsconfigSetString(fsfd, "source", m.Source); err != nil {
		return m.newError("fsconfig source", err, fsfd)
	}
	for _, o := range m.Options {
		if err := configureOption(fsfd, o); err != nil {
			return m.newError("fsconfig "+o.Key, err, fsfd)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return m.newError("fsconfig create", err, fsfd)
	}
	return nil
}

func configureOption(fsfd int, o Option) error {
	switch {
	case o.Key == "lowerdir":
		return configureLowers(fsfd, strings.Split(o.Value, ":"))
	case o.Value == "":
		return unix.FsconfigSetFlag(fsfd, o.Key)
	default:
		return unix.FsconfigSetString(fsfd, o.Key, strings.Trim(o.Value, `"`))
	}
}

func configureLowers(fsfd int, lowers []string) error {
	for i, lower := range lowers {
		if err := unix.FsconfigSetString(fsfd, "lowerdir+", lower); err != nil {
			return explainLower(fmt.Errorf("lower directory %d, %q: %w", i, lower, err), len(lowers))
		}
	}
	return nil
}

// explainLower explains the refusal of a kernel that is too old for lowerdir+. It is called
// after the refusal, because an older kernel can have lowerdir+ ported back.
func explainLower(refusal error, lowers int) error {
	able, err := HasLowerdirPlus()
	if err != nil || able || !errors.Is(refusal, unix.EINVAL) {
		return errors.Join(refusal, err)
	}
	return fault.New(fault.Unsupported,
		"%d lower directories do not fit one page, and this kernel has no lowerdir+: use Linux 6.8 or later (%w)", lowers, refusal)
}

// newError returns the Error of a refused call, with the kernel's message if fsfd has one.
func (m Mount) newError(call string, err error, fsfd int) error {
	e := &Error{Mount: m, Call: call, Err: err}
	if fsfd >= 0 {
		buf := make([]byte, 512)
		if n, rerr := unix.Read(fsfd, buf); rerr == nil {
			e.Log = strings.TrimSpace(string(buf[:n]))
		}
	}
	return e
}
