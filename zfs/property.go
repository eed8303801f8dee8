package zfs

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs/nvlist"
)

// Value is a property's value: a number or a string, as the kernel stores it. Sizes, limits
// and words like "on" are numbers; mountpoint and user properties are strings.
type Value struct {
	text   string
	number uint64
	isText bool
}

// Uint returns a numeric value, such as a quota in bytes.
func Uint(n uint64) Value { return Value{number: n} }

// String is a value that is a string. For sync, readonly, atime, relatime,
// devices, exec, setuid, canmount, snapdir, acltype, xattr, dnodesize and
// compression it is one of the words that zfs(8) has, which is turned into its
// number.
func String(s string) Value { return Value{text: s, isText: true} }

// Uint returns the number, or 0 of a string.
func (v Value) Uint() uint64 { return v.number }

// IsString reports whether the value is a string.
func (v Value) IsString() bool { return v.isText }

// String returns the string, or a number's decimal digits.
func (v Value) String() string {
	if v.isText {
		return v.text
	}
	return strconv.FormatUint(v.number, 10)
}

// Properties are properties to set, by name.
type Properties map[string]Value

// Property is a property as the kernel knows it.
type Property struct {
	Value
	// Source is the name of the dataset that the value was set on: the
	// dataset's own name if it is local, an ancestor's if it is inherited;
	// "$recvd" if it was received; empty if it is a default, or a
	// statistic that nobody sets.
	Source string
}

// The values of the sync property (zfs_sync_type_t of include/sys/fs/zfs.h).
const (
	SyncStandard uint64 = 0
	SyncAlways   uint64 = 1
	SyncDisabled uint64 = 2
)

// noWord marks a number that is not a value of the property.
const noWord = "\x00"

// words has the values of properties that are words to people and numbers to
// the kernel (include/sys/fs/zfs.h, module/zcommon/zfs_prop.c, the same from
// OpenZFS 2.1 to 2.4). Only what the driver may want to set is here.
var words = map[string][]string{
	"sync":     {"standard", "always", "disabled"},
	"readonly": {"off", "on"},
	"atime":    {"off", "on"},
	"relatime": {"off", "on"},
	"devices":  {"off", "on"},
	"exec":     {"off", "on"},
	"setuid":   {"off", "on"},
	"canmount": {"off", "on", "noauto"},
	"snapdir":  {"hidden", "visible"},
	"acltype":  {"off", "posix", "nfsv4"},
	// zfs(8) has a further word, "on": that for dir before 2.3, for sa since.
	"xattr":     {"off", "dir", "sa"},
	"dnodesize": {"legacy", "auto"},
	// enum zio_compress of include/sys/zio.h, of which two are no values of the
	// property: inherit and empty.
	"compression": {
		noWord, "on", "off", "lzjb", noWord, "gzip-1", "gzip-2", "gzip-3", "gzip-4", "gzip-5", "gzip-6", "gzip-7", "gzip-8", "gzip-9",
		"zle", "lz4", "zstd",
	},
}

// isUserProperty reports whether the name is a user property's: it has a colon.
func isUserProperty(name string) bool { return strings.Contains(name, ":") }

// packed returns the value as the kernel takes it for that property.
func (v Value) packed(property string) (any, bool) {
	if !v.isText {
		return v.number, !isUserProperty(property)
	}
	known, ok := words[property]
	if !ok {
		return v.text, true
	}
	i := slices.Index(known, v.text)
	return uint64(i), i >= 0
}

// pack checks properties and returns them as the kernel's list, by name.
func (p Properties) pack(op, dataset string) (nvlist.List, error) {
	list := make(nvlist.List, 0, len(p))
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if err := checkProperty(op, dataset, name, p[name]); err != nil {
			return nil, err
		}
		value, ok := p[name].packed(name)
		if !ok {
			return nil, invalid(op, dataset, "property %s cannot have the value %q", name, p[name].String())
		}
		list = append(list, nvlist.Pair{Name: name, Value: value})
	}
	return list, nil
}

// unpackProperties reads the lists {value, source} of a dataset's or pool's properties. It
// skips a value that is neither a number nor a string.
func unpackProperties(list nvlist.List) map[string]Property {
	properties := make(map[string]Property, len(list))
	for _, pair := range list {
		inner, ok := pair.Value.(nvlist.List)
		if !ok {
			continue
		}
		var p Property
		p.Source, _ = inner.String("source")
		if n, ok := inner.Uint64("value"); ok {
			p.Value = Uint(n)
		} else if s, ok := inner.String("value"); ok {
			p.Value = String(s)
		} else {
			continue
		}
		properties[pair.Name] = p
	}
	return properties
}
