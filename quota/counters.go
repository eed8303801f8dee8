package quota

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// counters are how far the writing on the dataset has come.
type counters struct {
	written uint64 // bytes that write(2) calls on the dataset have taken, when they returned
	dirty   uint64 // bytes in memory that wait to be written, of all pools; moves while calls go on
}

// arcstats is where the module tells how much memory holds what.
const arcstats = "/proc/spl/kstat/zfs/arcstats"

// objsetFile reads what ZFS counts of a dataset in use.
type objsetFile struct {
	pool, dataset string
	last          zfs.Objset
}

// read finds the dataset's counters again when it was mounted anew.
func (o *objsetFile) read() (zfs.Objset, error) {
	if o.last.File != "" {
		if again, err := o.last.Refresh(); err == nil {
			return again, nil
		}
	}
	found, err := zfs.ObjsetKstat(o.pool, o.dataset)
	o.last = found
	return found, err
}

// counterFiles reads the counters of a dataset: two small files.
type counterFiles struct{ objset objsetFile }

func newCounterFiles(dataset string) *counterFiles {
	return &counterFiles{objsetFile{pool: zfs.PoolOf(dataset), dataset: dataset}}
}

func (c *counterFiles) read() (counters, error) {
	objset, err := c.objset.read()
	if err != nil {
		return counters{}, err
	}
	raw, err := os.ReadFile(arcstats)
	if err != nil {
		return counters{}, fmt.Errorf("read memory counters: %w", err)
	}
	dirty, err := anonSize(raw)
	return counters{objset.BytesWritten, dirty}, err
}

// anonSize is the size of buffers that have no place on disk yet.
func anonSize(raw []byte) (uint64, error) {
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "anon_size" {
			return strconv.ParseUint(fields[2], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no anon_size", arcstats)
}
