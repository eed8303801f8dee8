package boltcopy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// openDatabase makes a database that stays open, and so locked, until the test ends.
func openDatabase(t *testing.T) (*bbolt.DB, *os.File) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{NoFreelistSync: true, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return db, f
}

var bucket = []byte("numbers")

// write sets many keys to one number, in one transaction.
func write(db *bbolt.DB, number uint64) error {
	return db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		for key := range uint64(2000) {
			if err == nil {
				err = b.Put(binary.BigEndian.AppendUint64(nil, key), binary.BigEndian.AppendUint64(nil, number))
			}
		}
		return err
	})
}

// readNumbers returns the numbers that the keys are set to, and how many keys there are.
func readNumbers(f *os.File) (numbers map[uint64]bool, keys int, err error) {
	numbers = map[uint64]bool{}
	err = Read(f, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(_, v []byte) error {
			keys++
			numbers[binary.BigEndian.Uint64(v)] = true
			return nil
		})
	})
	return numbers, keys, err
}

// TestReadBesideWriter reads whole transactions of a database that is locked and written.
func TestReadBesideWriter(t *testing.T) {
	db, f := openDatabase(t)
	if err := write(db, 0); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for number := uint64(1); ; number++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := write(db, number); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 50 {
		numbers, keys, err := readNumbers(f)
		if errors.Is(err, fault.Busy) {
			continue // a writer that never rests can be too fast
		}
		if err != nil || len(numbers) != 1 || keys != 2000 {
			t.Errorf("read %d keys with the numbers of %d transactions: %v", keys, len(numbers), err)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if numbers, keys, err := readNumbers(f); err != nil || len(numbers) != 1 || keys != 2000 {
		t.Errorf("while nobody writes: %d keys, %v, %v", keys, numbers, err)
	}
}

// TestHeadersChange with each transaction, so that a change during the copy is seen.
func TestHeadersChange(t *testing.T) {
	db, f := openDatabase(t)
	for number := range uint64(2) {
		if err := write(db, number); err != nil {
			t.Fatal(err)
		}
	}
	before, err := readHeaders(f)
	if err != nil {
		t.Fatal(err)
	}
	for number := range uint64(3) { // either header is the older one in turn
		if err := write(db, number); err != nil {
			t.Fatal(err)
		}
		after, err := readHeaders(f)
		if err != nil || string(after) == string(before) {
			t.Errorf("a transaction leaves the headers as they were: %v", err)
		}
		before = after
	}
}

// TestReadDamaged reads files that are no databases.
func TestReadDamaged(t *testing.T) {
	db, f := openDatabase(t)
	if err := write(db, 1); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte("text"), "short": raw[:len(raw)/2], "zeros": make([]byte, len(raw)), "headers": raw[:2*os.Getpagesize()],
		"pages": append(append([]byte{}, raw[:2*os.Getpagesize()]...), make([]byte, len(raw)-2*os.Getpagesize())...),
	} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		damaged, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := readNumbers(damaged); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		damaged.Close()
	}
}

// TestFaultIsDamage: pages can go away while they are read.
func TestFaultIsDamage(t *testing.T) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(page)
	if err := RecoverPanic(func() error { return fmt.Errorf("read %d", page[0]) }); !errors.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}
