package mount

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Mount describes one mount: the arguments of mount(8) as a value.
type Mount struct {
	Type    string
	Source  string
	Target  string
	Flags   uintptr
	Options []Option

	// Dir is the directory of relative paths in Target and Options. Relative paths keep deep
	// stacks within one page, and a ':' in the directory's own path does no harm.
	Dir string
}

// Option is one option of the file system: key, or key=value.
type Option struct{ Key, Value string }

// String returns the option as mount(2) takes it.
func (o Option) String() string {
	if o.Value == "" {
		return o.Key
	}
	return o.Key + "=" + o.Value
}

// Data returns the options as the data argument of mount(2).
func (m Mount) Data() string {
	parts := make([]string, len(m.Options))
	for i, o := range m.Options {
		parts[i] = o.String()
	}
	return strings.Join(parts, ",")
}

// Error is a mount that the kernel refused, with all arguments.
type Error struct {
	Mount Mount
	Call  string
	Err   error
	Log   string // the kernel's message, when the call returns one
}

// Error names call, type, source, target and a bounded part of the data.
func (e *Error) Error() string {
	const most = 300
	data := e.Mount.Data()
	if len(data) > most {
		data = data[:most] + "…"
	}
	text := fmt.Sprintf("%s of %s %q on %q in %q (flags %#x, options %q): %v",
		e.Call, e.Mount.Type, e.Mount.Source, e.Mount.Target, e.Mount.Dir, e.Mount.Flags, data, e.Err)
	if e.Log != "" {
		text += ": the kernel says: " + e.Log
	}
	return text
}

// Unwrap returns the kernel's errno.
func (e *Error) Unwrap() error { return e.Err }

// Do makes the mount.
//
// mount(2) is used while the options fit its one page: it is one call and
// works on every kernel. Beyond that an overlay is configured layer by layer
// with fsconfig(2), which needs the kernel to know "lowerdir+" (6.8).
func (m Mount) Do() error {
	if err := m.check(); err != nil {
		return err
	}
	if len(m.Data()) < unix.Getpagesize() {
		return runInDir(m.Dir, m.mountClassic)
	}
	if m.Type != "overlay" {
		return fault.New(fault.Invalid, "the options of the %s mount on %q are longer than a page", m.Type, m.Target)
	}
	return runInDir(m.Dir, m.mountStepwise)
}

// check refuses a NUL, at which the kernel would cut an argument.
func (m Mount) check() error {
	for _, s := range append([]string{m.Type, m.Source, m.Target, m.Dir}, m.Data()) {
		if strings.ContainsRune(s, 0) {
			return fault.New(fault.UnsafeInput, "mount of %s on %q: NUL in an argument", m.Type, m.Target)
		}
	}
	return nil
}

// mountClassic mounts with mount(2).
func (m Mount) mountClassic() error {
	if err := unix.Mount(m.Source, m.Target, m.Type, m.Flags, m.Data()); err != nil {
		return &Error{Mount: m, Call: "mount", Err: err}
	}
	return nil
}

// Unmount unmounts target. A target that is not mounted, or missing, is no error.
func Unmount(target string) error {
	return unmount(target, unix.UMOUNT_NOFOLLOW)
}

// Detach removes target from the mount namespace at once (MNT_DETACH). The file system ends
// with its last user.
func Detach(target string) error {
	return unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
}

func unmount(target string, flags int) error {
	err := unix.Unmount(target, flags)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fault.Classify(fmt.Errorf("unmount %q: %w", target, err))
}
