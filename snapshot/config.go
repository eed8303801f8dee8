package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Config is the configuration of a Scheduler.
type Config struct {
	ZFS *zfs.Handle

	// Layers is the dataset with the store.
	Layers string
	// Records is the dataset with Docker's data-root, on the same pool. It may be Layers
	// itself. Without it snapshots cover layers only, and a rollback does not bring Docker's
	// records back.
	Records string

	Policy Policy

	// AfterPrune, if set, is called after retention destroyed snapshots, from the goroutine that
	// did. Datasets of removed layers that only those snapshots kept can then be destroyed.
	AfterPrune func()

	// Now returns the time of the wall clock. nil is time.Now.
	Now func() time.Time
}

// validate makes sure that one snapshot can cover the datasets.
func (c Config) validate() error {
	if c.ZFS == nil {
		return fault.New(fault.Unsupported, "snapshots (%s) need /dev/zfs, which cannot be used here", c.Policy)
	}
	return checkDatasets(c.ZFS, c.Layers, c.Records)
}

// maxNameLength is ZFS's limit on the name of a snapshot with its dataset. limitedNameLength
// is the part of it that snapshots of limited layers need.
const (
	maxNameLength     = 255
	limitedNameLength = len("/") + 26 + len("@overlayzfs-committed-20060102T150405Z-1000")
)

func checkDatasets(z *zfs.Handle, layers, records string) error {
	if _, err := z.DatasetStats(layers); err != nil {
		return err
	}
	if n := len(layers) + limitedNameLength; n > maxNameLength {
		return fault.New(fault.Invalid, "the name of dataset %s is too long for names of snapshots: it may have %d characters", layers, maxNameLength-limitedNameLength)
	}
	if records == "" || records == layers {
		return nil
	}
	if zfs.PoolOf(records) != zfs.PoolOf(layers) {
		return fault.New(fault.Invalid, "the records dataset %s is not on the pool of the layers dataset %s: one snapshot covers one pool; name a dataset on pool %s, or none for snapshots of layers only", records, layers, zfs.PoolOf(layers))
	}
	stats, err := z.DatasetStats(records)
	switch {
	case errors.Is(err, zfs.ErrNotExist):
		return fault.New(fault.NotFound, "the records dataset %s does not exist: name the dataset of Docker's data-root (`findmnt -T /var/lib/docker`), or none for snapshots of layers only (%w)", records, err)
	case err != nil:
		return err
	case stats.Type != zfs.Filesystem:
		return fault.New(fault.Invalid, "the records dataset %s is a %s, not a file system", records, stats.Type)
	}
	return nil
}

// Policy says at which events snapshots are taken, and how many of each event are kept. An
// empty policy takes none.
type Policy map[Event]int

// MaxKept is the most snapshots that a policy keeps of one event.
const MaxKept = 10000

// ParsePolicy reads a policy such as "stop:3,daily:7". Empty and "off" take no snapshots.
func ParsePolicy(text string) (Policy, error) {
	policy := Policy{}
	if text = strings.TrimSpace(text); text == "" || text == "off" {
		return policy, nil
	}
	for entry := range strings.SplitSeq(text, ",") {
		event, count, err := parseEntry(strings.TrimSpace(entry))
		if err != nil {
			return nil, err
		}
		if _, twice := policy[event]; twice {
			return nil, fault.New(fault.Invalid, "snapshot policy: %s is named twice", event)
		}
		policy[event] = count
	}
	return policy, nil
}

func parseEntry(entry string) (Event, int, error) {
	name, digits, ok := strings.Cut(entry, ":")
	event := Event(name)
	if !ok || !slices.Contains(policyEvents, event) {
		return "", 0, fault.New(fault.Invalid, "snapshot policy %.80q: want EVENT:COUNT with one of the events %s, or off to take no snapshots", entry, eventNames())
	}
	count, err := strconv.Atoi(digits)
	if err != nil || count < 1 || count > MaxKept {
		return "", 0, fault.New(fault.Invalid, "snapshot policy %.80q: the count has to be a number from 1 to %d", entry, MaxKept)
	}
	return event, count, nil
}

func eventNames() string {
	var names []string
	for _, e := range policyEvents {
		names = append(names, string(e))
	}
	return strings.Join(names, ", ")
}

// String returns the policy as ParsePolicy reads it.
func (p Policy) String() string {
	var entries []string
	for _, e := range policyEvents {
		if n, ok := p[e]; ok {
			entries = append(entries, fmt.Sprintf("%s:%d", e, n))
		}
	}
	if len(entries) == 0 {
		return "off"
	}
	return strings.Join(entries, ",")
}
