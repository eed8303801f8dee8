package snapshot

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// The user properties of our snapshots, the same on all datasets of one.
const (
	eventProperty   = "overlayzfs:event"
	versionProperty = "overlayzfs:version" // of these properties
	scopeProperty   = "overlayzfs:scope"
	recordsProperty = "overlayzfs:records"     // the records dataset, if it is in it
	limitedProperty = "overlayzfs:limited"     // how many limited layers, and their keys
	layersProperty  = "overlayzfs:layers-guid" // the layers dataset's GUID
)

// oldLayersProperty is the earlier name of layersProperty. Package quota uses the same
// name, on datasets, for the store's random name. It is read and never written.
const oldLayersProperty = "overlayzfs:store"

// version is what versionProperty says. A snapshot of another version is
// listed and kept, and cannot be gone back to.
const version = "1"

// mostKeys bounds how many keys limitedProperty names: a property holds 8 KiB,
// and each dataset of a snapshot has it.
const mostKeys = 64

// properties are those of a snapshot to be taken.
func properties(e Event, store uint64, records string, keys []string) map[string]string {
	p := map[string]string{
		eventProperty:   string(e),
		versionProperty: version,
		scopeProperty:   string(ScopeLayers),
		limitedProperty: limits{len(keys), keys}.String(),
		layersProperty:  strconv.FormatUint(store, 10),
	}
	if records != "" {
		p[scopeProperty] = string(ScopeRecords)
		p[recordsProperty] = records
	}
	return p
}

// limits are the limited layers of a snapshot: how many, and the first keys.
type limits struct {
	count int
	keys  []string
}

// String is limitedProperty's value.
func (l limits) String() string {
	return fmt.Sprintf("%d %s", l.count, strings.Join(l.keys[:min(len(l.keys), mostKeys)], ","))
}

// parseLimits reads what String wrote; of anything else it makes the least.
func parseLimits(text string) limits {
	digits, list, _ := strings.Cut(text, " ")
	count, _ := strconv.Atoi(digits)
	l := limits{count: count}
	for key := range strings.SplitSeq(list, ",") {
		if keyPattern.MatchString(key) {
			l.keys = append(l.keys, key)
		}
	}
	return l
}

// ours reports whether a snapshot is one of ours: by name, and by a property
// set on the snapshot itself, which nobody inherits.
func ours(s zfs.Dataset) bool {
	return strings.HasPrefix(bare(s.Name), prefix) && s.IsLocal(eventProperty)
}

// layersGUID returns the GUID of the layers dataset that a snapshot was taken with, in
// decimal digits, and "" when the snapshot does not have it.
func layersGUID(s zfs.Dataset) string {
	return cmp.Or(text(s, layersProperty), text(s, oldLayersProperty))
}

// text is a user property, or nothing.
func text(s zfs.Dataset, property string) string {
	if p, there := s.Property(property); there {
		return p.String()
	}
	return ""
}
