package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// prefix begins the name of every snapshot of overlayzfs.
const prefix = "overlayzfs-"

// timeLayout is the basic format of ISO 8601. ZFS allows all of its characters in names.
const timeLayout = "20060102T150405Z"

// makeName returns the n-th name for a snapshot taken at that time. The time is for readers,
// and no code reads it back.
func makeName(e Event, at time.Time, n int) string {
	return fmt.Sprintf("%s%s-%s-%d", prefix, e, at.UTC().Format(timeLayout), n)
}

// snapshotName returns the full name of a dataset's snapshot.
func snapshotName(dataset, name string) string { return dataset + "@" + name }

// datasetOf returns the part of a snapshot's name before the @.
func datasetOf(snapshot string) string {
	dataset, _, _ := strings.Cut(snapshot, "@")
	return dataset
}

// baseName returns the part of a snapshot's name after the @.
func baseName(snapshot string) string {
	_, name, _ := strings.Cut(snapshot, "@")
	return name
}

// snapshotNames returns the full names of a snapshot of several datasets.
func snapshotNames(datasets []string, name string) []string {
	all := make([]string, len(datasets))
	for i, dataset := range datasets {
		all[i] = snapshotName(dataset, name)
	}
	return all
}

// The user properties of our snapshots. They are the same on all datasets of a snapshot.
const (
	eventProperty   = "overlayzfs:event"
	versionProperty = "overlayzfs:version" // the version of these properties
	scopeProperty   = "overlayzfs:scope"
	recordsProperty = "overlayzfs:records"     // the records dataset that it covers
	limitedProperty = "overlayzfs:limited"     // how many limited layers, and their keys
	layersProperty  = "overlayzfs:layers-guid" // the layers dataset's GUID
)

// oldLayersProperty is the earlier name of layersProperty. Package quota uses the same
// name, on datasets, for the store's random name. It is read and never written.
const oldLayersProperty = "overlayzfs:store"

// propertyVersion is the value of versionProperty. A snapshot of another version is listed
// and kept, and no rollback to it is possible.
const propertyVersion = "1"

// maxKeys is the most keys in limitedProperty. A property holds 8 KiB, and each dataset of a
// snapshot has it.
const maxKeys = 64

// properties returns the properties of a new snapshot.
func properties(e Event, store uint64, records string, keys []string) map[string]string {
	p := map[string]string{
		eventProperty:   string(e),
		versionProperty: propertyVersion,
		scopeProperty:   string(ScopeLayers),
		limitedProperty: limitedLayers{len(keys), keys}.String(),
		layersProperty:  strconv.FormatUint(store, 10),
	}
	if records != "" {
		p[scopeProperty] = string(ScopeRecords)
		p[recordsProperty] = records
	}
	return p
}

// limitedLayers are the limited layers in a snapshot: their number, and the first keys.
type limitedLayers struct {
	count int
	keys  []string
}

// String returns the value of limitedProperty.
func (l limitedLayers) String() string {
	return fmt.Sprintf("%d %s", l.count, strings.Join(l.keys[:min(len(l.keys), maxKeys)], ","))
}

// has reports whether the key is one of those that are known.
func (l limitedLayers) has(key string) bool { return slices.Contains(l.keys, key) }

// isComplete reports whether all keys are known.
func (l limitedLayers) isComplete() bool { return len(l.keys) == l.count }

// parseLimitedLayers reads the value of limitedProperty. From a malformed value it takes what
// it can read.
func parseLimitedLayers(text string) limitedLayers {
	digits, list, _ := strings.Cut(text, " ")
	count, _ := strconv.Atoi(digits)
	l := limitedLayers{count: count}
	for key := range strings.SplitSeq(list, ",") {
		if quota.IsKey(key) {
			l.keys = append(l.keys, key)
		}
	}
	return l
}

// isOurs reports whether overlayzfs took a snapshot, here or where its stream comes from: by its
// name, and by a property on the snapshot itself, which no other snapshot inherits.
func isOurs(s zfs.Dataset) bool {
	return strings.HasPrefix(baseName(s.Name), prefix) && s.IsLocalOrReceived(eventProperty)
}

// isSameMoment reports whether snapshots of one name, on two datasets, were taken in one step.
// One step has one transaction group. Streams bring another group for each dataset: what was
// received of one snapshot of ours has its name, which is used once, and its properties in
// common. The time of creation is no proof: OpenZFS reads the clock for each dataset of a step.
func isSameMoment(a, b zfs.Dataset) bool {
	if a.CreateTXG == b.CreateTXG {
		return isOurs(a) == isOurs(b)
	}
	if !isOurs(a) || !isOurs(b) || a.IsLocal(eventProperty) || b.IsLocal(eventProperty) {
		return false
	}
	return layersGUID(a) == layersGUID(b)
}

// layersGUID returns the GUID of the layers dataset that a snapshot was taken with, in
// decimal digits, and "" when the snapshot does not have it.
func layersGUID(s zfs.Dataset) string {
	return cmp.Or(propertyText(s, layersProperty), propertyText(s, oldLayersProperty))
}

// propertyText returns the text of a property, and "" without it.
func propertyText(s zfs.Dataset, property string) string {
	if p, there := s.Property(property); there {
		return p.String()
	}
	return ""
}

// rollbackProperty, on the layers dataset, is set while a rollback has begun and not ended. Its
// value is the snapshot. A rollback does not change the properties of file systems, so this
// one survives every step.
const rollbackProperty = "overlayzfs:rollback"

// rollbackRecordsProperty, beside rollbackProperty, is the records dataset that goes back. A
// second run then needs no flag for it.
const rollbackRecordsProperty = "overlayzfs:rollback-records"

// pendingRollback returns the snapshot that an unfinished rollback of the dataset goes to, and
// "" without one. An inherited property is an ancestor's, and does not count. A received one
// says that the other host's rollback was unfinished when the stream was made.
func pendingRollback(layers zfs.Dataset) string {
	if !layers.IsLocalOrReceived(rollbackProperty) {
		return ""
	}
	return propertyText(layers, rollbackProperty)
}

// PendingRollback returns the name of the snapshot that an unfinished rollback of the layers
// dataset goes to, and "" without one. A store must not be used while there is one. Ask after
// the dataset is mounted and before a layer is used, and unmount it then. A rollback sets its
// property before it looks for mounts, so one of the two always sees the other.
//
// The caller may have read the store's version, tested the file system in a directory of its
// own, and made missing directories. A rollback undoes that or keeps it, without harm.
func PendingRollback(z *zfs.Handle, layers string) (string, error) {
	stats, err := z.DatasetStats(layers)
	if err != nil {
		return "", err
	}
	return pendingRollback(stats), nil
}

// HasRecords reports whether a snapshot of the layers dataset may include Docker's records: one
// of overlayzfs says it, and one of another program does not. It is false for a snapshot that
// does not exist.
func HasRecords(z *zfs.Handle, layers, name string) bool {
	s, err := z.DatasetStats(snapshotName(layers, name))
	return err == nil && (!isOurs(s) || propertyText(s, recordsProperty) != "")
}

// NamesRecords reports whether a snapshot of the layers dataset itself says which records
// dataset it covers, if any. One of another program does not, the name in a received one is of
// another host, and the dataset or its pool may have been renamed since.
func NamesRecords(z *zfs.Handle, layers, name string) bool {
	s, err := z.DatasetStats(snapshotName(layers, name))
	if err != nil || !isOurs(s) || !s.IsLocal(eventProperty) {
		return false
	}
	records := propertyText(s, recordsProperty)
	if records == "" {
		return true
	}
	there, err := z.Exists(snapshotName(records, name))
	return there || err != nil
}

// UnfinishedError returns the error for a store whose rollback to a snapshot is unfinished.
func UnfinishedError(layers, name string) error {
	return fault.New(fault.Interrupted, "a rollback to %s was cut short: finish it with `overlayzfs rollback %s` and the flags of the first run", name, snapshotName(layers, name))
}
