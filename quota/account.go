package quota

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// counters say how much was written on the dataset.
type counters struct {
	written uint64 // bytes of the write(2) calls on the dataset that have returned
	dirty   uint64 // bytes in memory that wait to be written, of all pools; moves during a call
}

// arcstats is the file in which the module shows its use of memory.
const arcstats = "/proc/spl/kstat/zfs/arcstats"

// objsetFile reads ZFS's counters of a dataset in use.
type objsetFile struct {
	pool, dataset string
	last          zfs.Objset
}

// read finds the counters again after the dataset was mounted again.
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

// counterFiles reads the counters of a dataset from two small files.
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
	dirty, err := parseAnonSize(raw)
	return counters{objset.BytesWritten, dirty}, err
}

// parseAnonSize returns the size of buffers that have no place on disk yet.
func parseAnonSize(raw []byte) (uint64, error) {
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "anon_size" {
			return strconv.ParseUint(fields[2], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no anon_size", arcstats)
}

// account is what the governor knows of one layer's space.
type account struct {
	limit uint64
	used  uint64   // as of a transaction group that ended
	base  counters // bytes written above this may not be in used yet
}

// pending returns the most that may have been written to the layer and is not in used. Calls
// that returned are counted in written. A call under way is counted only in memory.
func (a account) pending(now counters) uint64 {
	if now.written < a.base.written {
		return max(now.written, now.dirty) // the dataset was mounted again
	}
	return max(now.written-a.base.written, now.dirty-min(now.dirty, a.base.dirty))
}

// free returns how much the layer may still hold, by what is known for certain.
func (a account) free() uint64 { return a.limit - min(a.limit, a.used) }

// slack returns free less what may be pending.
func (a account) slack(now counters) uint64 { return a.free() - min(a.free(), a.pending(now)) }

// verdict is what has to be done about a layer.
type verdict int

const (
	verdictContinue verdict = iota
	verdictSync             // have a transaction group end, so that used is up to date
	verdictFreeze           // and refuse all writes until it has ended
	verdictFull             // do nothing: the kernel refuses by itself
)

// judge returns the verdict. Half of what is free may be written before a transaction group is
// worth its cost. So the number of groups grows with the logarithm of what is free.
func (a account) judge(now counters) verdict {
	switch pending := a.pending(now); {
	case a.used >= a.limit:
		return verdictFull
	case pending >= a.free():
		return verdictFreeze
	case pending >= a.free()/2:
		return verdictSync
	}
	return verdictContinue
}

// Bounds of the pause between two checks of the counters. maxRate is the highest expected rate
// of writing. At that rate, half of the slack is used until the next check.
const (
	maxRate      = 1 << 30 // bytes a second
	minPause     = 5 * time.Millisecond
	idlePause    = 50 * time.Millisecond // the shortest pause while nothing is written
	maxPause     = time.Second
	idleAfter    = time.Second
	fullPause    = 100 * time.Millisecond // between two reads of a full layer's usage
	failurePause = time.Second
)

// pause returns how long a layer with that slack needs no check.
func pause(slack uint64, idle bool) time.Duration {
	least := minPause
	if idle {
		least = idlePause
	}
	most := uint64(maxPause/time.Millisecond) * maxRate / 1000
	half := min(slack/2, most)
	return max(least, time.Duration(half*1000/maxRate)*time.Millisecond)
}
