package backup

import (
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// carriedNumbers are the native properties that a backup brings along: how data is stored and
// what a container may hold. Those that are fixed at creation are in the stream itself.
var carriedNumbers = []string{
	"recordsize", "compression", "xattr", "acltype", "dnodesize", "atime", "relatime", "sync", "logbias", "primarycache", "refquota",
}

// carriedPrefixes begin the names of user properties that a backup brings along.
var carriedPrefixes = []string{"overlayzfs:", "com.sun:auto-snapshot"}

// mountpointProperty holds where a received dataset was mounted at its sender.
const mountpointProperty = "overlayzfs:mountpoint"

// notCarried are user properties of a host's own state.
var notCarried = []string{"overlayzfs:rollback", "overlayzfs:rollback-records", "overlayzfs:receiving", "overlayzfs:sent", mountpointProperty}

// ownProperties returns the properties to bring along that are set on the dataset or snapshot
// itself.
func ownProperties(d zfs.Dataset) (numbers map[string]uint64, texts map[string]string) {
	numbers, texts = map[string]uint64{}, map[string]string{}
	for name, p := range d.Properties {
		switch {
		case !d.IsLocalOrReceived(name):
		case slices.Contains(carriedNumbers, name) && !p.IsString():
			numbers[name] = p.Uint()
		case p.IsString() && isCarried(name):
			texts[name] = p.String()
		}
	}
	return numbers, texts
}

func isCarried(name string) bool {
	return !slices.Contains(notCarried, name) && slices.ContainsFunc(carriedPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// received returns the properties of an entry that a receiver sets as received. It takes those
// only that a sender may bring.
func (d Dataset) received() zfs.Properties {
	properties := zfs.Properties{}
	for name, n := range d.Numbers {
		if slices.Contains(carriedNumbers, name) {
			properties[name] = zfs.Uint(n)
		}
	}
	for name, text := range d.Texts {
		if isCarried(name) {
			properties[name] = zfs.String(text)
		}
	}
	return properties
}

// receivedOfSnapshot is received for the snapshot.
func (d Dataset) receivedOfSnapshot() zfs.Properties {
	properties := zfs.Properties{}
	for name, text := range d.Snapshot {
		if isCarried(name) {
			properties[name] = zfs.String(text)
		}
	}
	return properties
}
