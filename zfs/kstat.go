package zfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// The directories of the module's counters and parameters. Tests replace them.
var (
	kstatDir  = "/proc/spl/kstat/zfs"
	moduleDir = "/sys/module/zfs"
)

// PoolSuspended is the state of a pool that waits for its devices.
const PoolSuspended = "SUSPENDED"

// PoolState returns ONLINE, DEGRADED, FAULTED, UNAVAIL, SUSPENDED or another state of a
// pool, or ErrNotExist for a pool that is not imported. It makes no request and takes no
// lock that a suspended pool could hold. (/proc/spl/kstat/zfs/POOL/state, OpenZFS 2.1 to
// 2.4.)
func PoolState(pool string) (string, error) {
	if err := checkPool(pool); err != nil {
		return "", err
	}
	raw, err := fsat.ReadSmall(filepath.Join(kstatDir, pool, "state"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", failure("get state of pool", pool, unix.ENOENT)
	}
	if err != nil {
		return "", fmt.Errorf("zfs get state of pool %q: %w", pool, err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// Pools lists the pools that are imported.
func Pools() (names []string, err error) {
	entries, err := os.ReadDir(kstatDir)
	for _, e := range entries {
		if e.IsDir() && checkPool(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// isSuspended reports whether the pool of a dataset is known to be suspended.
func isSuspended(dataset string) bool {
	state, err := PoolState(PoolOf(dataset))
	return err == nil && state == PoolSuspended
}

// Objset holds a dataset's counters. They start at 0 when the dataset is opened, for example
// by mounting it or importing the pool.
type Objset struct {
	File          string // the kstat file they were read from
	Dataset       string
	Reads         uint64
	BytesRead     uint64
	Writes        uint64
	BytesWritten  uint64 // by write(2), before compression
	Unlinked      uint64 // files removed
	UnlinkedFreed uint64 // removed files whose space is free
	ZILCommits    uint64 // 0 for a module without this counter (before 2.2)
}

// ObjsetKstat returns a dataset's counters. It returns ErrNotExist for a dataset that is
// neither mounted nor otherwise open. It reads one file for each open dataset of the pool;
// Refresh reads the same counters again from one file. (/proc/spl/kstat/zfs/POOL/objset-0x…,
// OpenZFS 2.1 to 2.4.)
func ObjsetKstat(pool, dataset string) (Objset, error) {
	if err := checkPool(pool); err != nil {
		return Objset{}, err
	}
	files, err := filepath.Glob(filepath.Join(kstatDir, escapeGlob(pool), "objset-0x*"))
	if err != nil {
		return Objset{}, fmt.Errorf("zfs find counters of %q: %w", dataset, err)
	}
	for _, file := range files {
		o, err := readObjset(file)
		if err == nil && o.Dataset == dataset {
			return o, nil
		}
	}
	return Objset{}, failure("find counters of", dataset, unix.ENOENT)
}

// Refresh reads the counters again, from one file. It returns ErrNotExist when the dataset
// was closed or renamed meanwhile.
func (o Objset) Refresh() (Objset, error) {
	again, err := readObjset(o.File)
	if errors.Is(err, fs.ErrNotExist) || err == nil && again.Dataset != o.Dataset {
		return Objset{}, failure("find counters of", o.Dataset, unix.ENOENT)
	}
	return again, err
}

// escapeGlob escapes the characters that filepath.Glob interprets. Names of pools cannot
// hold them today.
func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// readObjset reads a kstat file: two lines of heading, then lines "name type value".
func readObjset(file string) (Objset, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return Objset{}, fmt.Errorf("zfs read counters: %w", err)
	}
	o := Objset{File: file}
	numbers := map[string]*uint64{
		"reads":            &o.Reads,
		"nread":            &o.BytesRead,
		"writes":           &o.Writes,
		"nwritten":         &o.BytesWritten,
		"nunlinks":         &o.Unlinked,
		"nunlinked":        &o.UnlinkedFreed,
		"zil_commit_count": &o.ZILCommits,
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		name, value := kstatLine(lines.Text())
		if field := numbers[name]; field != nil {
			*field, _ = strconv.ParseUint(value, 10, 64)
		} else if name == "dataset_name" {
			o.Dataset = value
		}
	}
	return o, lines.Err()
}

// kstatLine splits a line; the value may have spaces in it.
func kstatLine(line string) (name, value string) {
	name, rest, _ := strings.Cut(line, " ")
	_, value, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
	return name, strings.TrimLeft(value, " ")
}

// ModuleParam returns a parameter of the zfs module, such as "zfs_bclone_enabled". It returns
// ErrNotExist for a parameter that this version does not have. (/sys/module/zfs/parameters.)
func ModuleParam(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
		return "", fault.New(fault.Invalid, "%.80q is no name of a module parameter", name)
	}
	// Barriers read parameters: os.ReadFile makes three times as many system calls.
	raw, err := fsat.ReadSmall(filepath.Join(moduleDir, "parameters", name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", failure("read module parameter", name, unix.ENOENT)
	}
	if err != nil {
		return "", fmt.Errorf("zfs read module parameter %q: %w", name, err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// CreatedObjects returns how many objects the module has created in the dnode
// cache of all pools since it was loaded, files and directories among them. It
// counts at once, not once a transaction group. (kstat dnodestats,
// dnode_allocate; module/zfs/dnode.c, OpenZFS 2.1 to 2.4.)
func CreatedObjects() (uint64, error) {
	file := filepath.Join(kstatDir, "dnodestats")
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("zfs count created objects: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "dnode_allocate" {
			return strconv.ParseUint(fields[2], 10, 64)
		}
	}
	return 0, fmt.Errorf("zfs count created objects: %s has no dnode_allocate", file)
}
