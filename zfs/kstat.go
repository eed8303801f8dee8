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

// Where the module shows its counters and parameters. Variables, so that
// tests can put files in their place.
var (
	kstatDir  = "/proc/spl/kstat/zfs"
	moduleDir = "/sys/module/zfs"
)

// PoolSuspended is PoolState's word for a pool that waits for its devices.
const PoolSuspended = "SUSPENDED"

// PoolState returns ONLINE, DEGRADED, FAULTED, UNAVAIL, SUSPENDED or another
// state of a pool. It makes no request and takes no lock that a suspended
// pool could hold. A pool that is not imported is ErrNotExist.
// (/proc/spl/kstat/zfs/POOL/state, OpenZFS 2.1 to 2.4.)
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

// suspended reports whether the pool of a dataset is known to be suspended.
func suspended(dataset string) bool {
	state, err := PoolState(PoolOf(dataset))
	return err == nil && state == PoolSuspended
}

// Objset are a dataset's counters since it was last opened: mounting it, or
// importing the pool, starts them at 0.
type Objset struct {
	File          string // the kstat file they were read from
	Dataset       string
	Reads         uint64
	BytesRead     uint64
	Writes        uint64
	BytesWritten  uint64 // as the writers handed them over, before compression
	Unlinked      uint64 // files removed
	UnlinkedFreed uint64 // removed files whose space was given back
	ZILCommits    uint64 // 0 where the module has no such counter (before 2.2)
}

// ObjsetKstat returns a dataset's counters. A dataset that is not open, that
// is neither mounted nor otherwise in use, has none: ErrNotExist. Finding the
// dataset reads one file for each open dataset of the pool; to read the same
// counters again, use Refresh. (/proc/spl/kstat/zfs/POOL/objset-0x…, OpenZFS
// 2.1 to 2.4.)
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

// Refresh reads the counters again: one file. It is ErrNotExist when the
// dataset was closed or renamed meanwhile.
func (o Objset) Refresh() (Objset, error) {
	again, err := readObjset(o.File)
	if errors.Is(err, fs.ErrNotExist) || err == nil && again.Dataset != o.Dataset {
		return Objset{}, failure("find counters of", o.Dataset, unix.ENOENT)
	}
	return again, err
}

// escapeGlob is for the one character of names that Glob could take for its
// own, were it ever to be allowed; '%', ' ' and ':' mean nothing to it.
func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// readObjset reads a file of lines "name type value" below two lines of
// heading.
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

// ModuleParam returns a parameter of the zfs module, such as
// "zfs_bclone_enabled". One that this version does not have is ErrNotExist.
// (/sys/module/zfs/parameters.)
func ModuleParam(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
		return "", fault.New(fault.Invalid, "%.80q is no name of a module parameter", name)
	}
	raw, err := os.ReadFile(filepath.Join(moduleDir, "parameters", name))
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
