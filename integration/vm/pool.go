package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// PoolMode says what the guest does with the pool disk before the job.
type PoolMode string

// PoolAuto makes the pool "tank", or imports it from a kept disk. PoolNone
// leaves the disk, /dev/vdb, bare.
const (
	PoolAuto PoolMode = "auto"
	PoolNone PoolMode = "none"
)

const (
	sector         = 512
	partitionStart = 2048 // sectors: 1 MiB
)

// preparePool makes the disk of the pool as a sparse file, unless it is there.
func preparePool(path string, size int64, mode PoolMode) error {
	info, err := os.Stat(path)
	if err == nil && info.Size() > 0 {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if size < 64<<20 {
		return fmt.Errorf("a pool of %d bytes: ZFS needs 64 MiB", size)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(size &^ (sector - 1)); err != nil {
		return err
	}
	if mode == PoolAuto {
		if _, err := file.WriteAt(partitionTable(size), 0); err != nil {
			return err
		}
	}
	return file.Close()
}

// partitionTable is an MBR with one partition for ZFS, so that the guest's
// kernel finds /dev/vdb1 when it boots (see guest/prepare-pool).
func partitionTable(size int64) []byte {
	table := make([]byte, sector)
	entry := table[446:]
	copy(entry[1:], []byte{0xfe, 0xff, 0xff}) // begin in cylinders: see below
	entry[4] = 0xbf                           // Solaris, which ZFS inherited
	copy(entry[5:], []byte{0xfe, 0xff, 0xff})
	// The sector numbers count.
	binary.LittleEndian.PutUint32(entry[8:], partitionStart)
	sectors := min(size/sector-partitionStart, 1<<32-1)
	binary.LittleEndian.PutUint32(entry[12:], uint32(sectors))
	table[510], table[511] = 0x55, 0xaa
	return table
}

// supportsDirect tells whether a file can be opened around the page cache. A
// tmpfs of an older kernel refuses.
func supportsDirect(path string) bool {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}
