package zfs

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// Sizes of the buffer for an answer. answerSize is enough for a dataset's properties, so
// that few requests are made twice. answerSizeMax keeps a broken module from asking for all
// memory.
const (
	answerSize    = 16 << 10
	answerSizeMax = 64 << 20
)

// ioctl makes one request and returns 0 on success. The garbage collector must not move c.
// It moves only what lies on a stack, and the backing array of c never does.
func (h *Handle) ioctl(req request, c command) unix.Errno {
	if h == nil || h.file == nil {
		return unix.EBADF
	}
	raw, err := h.file.SyscallConn()
	if err != nil {
		return unix.EBADF
	}
	var errno unix.Errno
	// Control keeps the descriptor from being closed, and its number from
	// being given to another file, while the request is under way.
	err = raw.Control(func(fd uintptr) {
		if req == iocSendNew || req == iocRecvNew {
			errno = requestToDeath(fd, uintptr(req), uintptr(unsafe.Pointer(unsafe.SliceData(c))), new([2]uint64))
			return
		}
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uintptr(req), uintptr(unsafe.Pointer(unsafe.SliceData(c))))
	})
	runtime.KeepAlive(c)
	if err != nil {
		return unix.EBADF
	}
	return errno
}

// exchange makes one request with a packed argument and a buffer for the answer; both may be
// nil. It returns the filled part of the buffer. It pins the buffers, because the block
// holds their addresses as numbers, which the garbage collector does not see.
func (h *Handle) exchange(req request, c command, src, dst []byte) ([]byte, unix.Errno) {
	var pins runtime.Pinner
	defer pins.Unpin()
	c.setBuffer(&pins, offSrc, offSrcSize, src)
	c.setBuffer(&pins, offDst, offDstSize, dst)
	c.setUint32(offDstFilled, 0)
	errno := h.ioctl(req, c)
	filled := min(c.uint64(offDstSize), uint64(len(dst)))
	return dst[:filled], errno
}

func (c command) setBuffer(pins *runtime.Pinner, offAddr, offSize int, buf []byte) {
	var addr uint64
	if len(buf) > 0 {
		pins.Pin(unsafe.SliceData(buf))
		addr = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(buf))))
	}
	c.setUint64(offAddr, addr)
	c.setUint64(offSize, uint64(len(buf)))
}

// query makes a request that changes nothing. It repeats the request after a signal, and
// with a larger buffer when the answer does not fit. The module writes its progress into
// name, cookie and obj even then, so query restores them first.
func (h *Handle) query(req request, c command) (nvlist.List, unix.Errno) {
	return h.queryWith(req, c, nil)
}

// queryWith is query with a packed argument.
func (h *Handle) queryWith(req request, c command, src []byte) (nvlist.List, unix.Errno) {
	name, cookie, obj := c.name(), c.uint64(offCookie), c.uint64(offObj)
	size := uint64(answerSize)
	if c[offSimple] != 0 {
		size = 0 // the block itself holds the answer
	}
	for {
		answer, errno := h.exchange(req, c, src, make([]byte, size))
		need := c.uint64(offDstSize)
		switch {
		case errno == 0:
			return c.decode(answer)
		case errno == unix.EINTR:
		case errno == unix.ENOMEM && need > size && need <= answerSizeMax:
			size = need
		default:
			return nil, errno
		}
		c.setName(name)
		c.setUint64(offCookie, cookie)
		c.setUint64(offObj, obj)
	}
}

// alter makes a request that changes something. It makes it once, because a second try could
// find the work of the first. The list is the module's answer, which a success can have too.
func (h *Handle) alter(req request, c command, src []byte) (nvlist.List, unix.Errno) {
	answer, errno := h.exchange(req, c, src, make([]byte, answerSize))
	list, decodeErrno := c.decode(answer)
	if errno == 0 {
		errno = decodeErrno
	}
	return list, errno
}

// decode decodes the module's answer; it returns nil without one.
func (c command) decode(answer []byte) (nvlist.List, unix.Errno) {
	if le.Uint32(c[offDstFilled:]) == 0 {
		return nil, 0
	}
	list, err := nvlist.Decode(answer)
	if err != nil {
		return nil, unix.EBADMSG
	}
	return list, 0
}

// fail returns the error of a refused request; nil when errno is 0.
func (h *Handle) fail(op, name string, errno unix.Errno) error {
	switch {
	case errno == 0:
		return nil
	case errno == unix.EBADF && !h.open():
		return &Error{Op: op, Name: name, Kind: ErrClosed, reason: ErrClosed.Error()}
	case errno == unix.EBADMSG:
		return &Error{Op: op, Name: name, Errno: errno, Kind: ErrUnknownABI, reason: "the zfs module's answer cannot be read"}
	}
	return failure(op, name, errno)
}

// open reports whether the handle can still be used.
func (h *Handle) open() bool {
	if h == nil || h.file == nil {
		return false
	}
	_, err := h.file.Stat()
	return !errors.Is(err, unix.EBADF) && err == nil
}
