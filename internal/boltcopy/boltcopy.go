package boltcopy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

const (
	// maxSize bounds the memory that a copy takes.
	maxSize = 4 << 30
	// maxTries bounds how often a copy is tried beside a process that writes.
	maxTries = 100
)

// Read calls read with a transaction on a copy of the database in f. It fails with
// fault.Busy when the database changes during every attempt, and with fault.Invalid for a
// damaged one.
func Read(f *os.File, read func(tx *bbolt.Tx) error) error {
	whole, err := copyWhole(f)
	if err != nil {
		return err
	}
	return RecoverPanic(func() error { return view(whole, read) })
}

// copyWhole returns a file in memory with the database of one moment.
func copyWhole(f *os.File) (*os.File, error) {
	fd, err := unix.MemfdCreate("bolt", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory for a copy of the database: %w", err)
	}
	memory := os.NewFile(uintptr(fd), "a copy of "+f.Name())
	for range maxTries {
		whole, err := tryCopy(memory, f)
		if err != nil {
			return nil, errors.Join(err, memory.Close())
		}
		if whole {
			return memory, nil
		}
	}
	return nil, errors.Join(fault.New(fault.Busy, "the database changes faster than it can be copied: try again"), memory.Close())
}

// tryCopy copies a database and reports whether it stayed the same meanwhile.
func tryCopy(to, from *os.File) (whole bool, err error) {
	before, err := readHeaders(from)
	if err != nil {
		return false, err
	}
	fi, err := from.Stat()
	if err != nil {
		return false, err
	}
	if fi.Size() > maxSize {
		return false, fault.New(fault.UnsafeInput, "the database has %d bytes, more than %d", fi.Size(), int64(maxSize))
	}
	if err := to.Truncate(0); err != nil {
		return false, err
	}
	if _, err := io.Copy(io.NewOffsetWriter(to, 0), io.NewSectionReader(from, 0, fi.Size())); err != nil {
		return false, err
	}
	after, err := readHeaders(from)
	return bytes.Equal(before, after), err
}

// The format of a header page (bbolt, internal/common): a page header, then the magic
// number, the version and the size of pages.
const (
	pageHeader  = 16
	sizeOffset  = pageHeader + 8
	headerBytes = pageHeader + 64
	minPage     = 512
	maxPage     = 64 << 10
)

// readHeaders returns the part of both header pages that a transaction changes. Of a
// file that is none of bbolt's it returns anything: bbolt refuses it.
func readHeaders(f *os.File) ([]byte, error) {
	headers := make([]byte, 2*headerBytes)
	if _, err := f.ReadAt(headers[:headerBytes], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	size := binary.NativeEndian.Uint32(headers[sizeOffset:])
	if size < minPage || size > maxPage || size&(size-1) != 0 {
		size = uint32(os.Getpagesize()) // the first header is damaged, and bbolt uses the second
	}
	if _, err := f.ReadAt(headers[headerBytes:], int64(size)); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return headers, nil
}

// view reads a database that nobody changes, and closes its file.
func view(f *os.File, read func(tx *bbolt.Tx) error) (err error) {
	fi, err := f.Stat()
	if err == nil && fi.Size() == 0 { // bbolt would take it for a new database
		err = fault.New(fault.Invalid, "the database is empty")
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	open := func(string, int, os.FileMode) (*os.File, error) { return f, nil }
	db, err := bbolt.Open(f.Name(), 0, &bbolt.Options{ReadOnly: true, OpenFile: open})
	if err != nil {
		return errors.Join(fault.New(fault.Invalid, "open the database: %w", err), closeAgain(f))
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(tx *bbolt.Tx) error {
		if err := CheckComplete(fi, tx); err != nil {
			return err
		}
		return read(tx)
	})
}

// closeAgain closes a file that bbolt may have closed.
func closeAgain(f *os.File) error {
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// CheckComplete fails when a database's file is shorter than its header says.
func CheckComplete(fi os.FileInfo, tx *bbolt.Tx) error {
	if fi.Size() < tx.Size() {
		return fault.New(fault.Invalid, "the database has %d bytes and should have %d", fi.Size(), tx.Size())
	}
	return nil
}

// RecoverPanic runs a function that trusts a database's mapped pages, and returns its
// panic as an error. Wrong pages make bbolt panic; missing pages cause a memory fault.
func RecoverPanic(run func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fault.New(fault.Invalid, "the database is damaged: %v", v)
		}
	}()
	return run()
}
