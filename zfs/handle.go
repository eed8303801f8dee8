package zfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// device is where the zfs module takes requests.
const device = "/dev/zfs"

// Handle is an open /dev/zfs. It is safe for concurrent use. A nil or closed Handle returns
// ErrClosed from every call.
type Handle struct {
	file *os.File
	abi  ABI
}

// Open opens /dev/zfs and checks that the module has the interface that this package knows.
// It returns ErrNoDevice when the device is missing or may not be opened, and ErrUnknownABI
// when the module is older than 2.1 or its interface differs.
func Open() (*Handle, error) {
	if !littleEndian() {
		return nil, &Error{Op: "open", Kind: ErrUnknownABI, reason: "only little-endian machines are supported"}
	}
	fd, err := openDevice(device)
	if err != nil {
		return nil, err
	}
	h := &Handle{file: os.NewFile(uintptr(fd), device)}
	if h.abi, err = h.checkABI(); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

// Close closes the handle. Later requests return ErrClosed; those under way go on, and the
// device is closed after the last of them. Closing a nil or closed handle does nothing.
func (h *Handle) Close() error {
	if h == nil || h.file == nil {
		return nil
	}
	if err := h.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// ABI returns the module's version, and whether its interface was compared.
func (h *Handle) ABI() ABI {
	if h == nil {
		return ABI{}
	}
	return h.abi
}

func openDevice(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, nil
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return -1, noDevice(path, err)
	}
}

// noDevice returns the error of a device that cannot be opened, with the remedy.
func noDevice(path string, err error) error {
	e := &Error{Op: "open", Name: path, Kind: ErrNoDevice}
	errors.As(err, &e.Errno)
	switch e.Errno {
	case unix.EPERM, unix.EACCES:
		e.remedy = "run as root; a managed plugin gets the device by {\"path\": \"/dev/zfs\"} in linux.devices of its config.json, a container by --device /dev/zfs"
	case unix.ENXIO, unix.ENODEV:
		e.remedy = "the zfs kernel module is not loaded: run `modprobe zfs`"
	default:
		e.remedy = "load the zfs kernel module (`modprobe zfs`); a managed plugin gets the device by {\"path\": \"/dev/zfs\"} in linux.devices of its config.json, a container by --device /dev/zfs"
	}
	return e
}
