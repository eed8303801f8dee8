package quota

import (
	"math/bits"
	"slices"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Properties are the properties of a layer's dataset by name, as the user wrote them. Only
// the names of PropertyNames are accepted.
type Properties map[string]string

// property is a property that a container may choose. encode returns the kernel's number for
// a value, and values describes the values.
type property struct {
	encode func(value string) (uint64, bool)
	values string
}

// propertyTable contains the properties that change how a container's own data is stored,
// and nothing for any other dataset. Package zfs has the numbers of words.
var propertyTable = map[string]property{
	"recordsize":   {encodeRecordSize, "a power of two from 512 to 1M"},
	"compression":  {encodeWord("compression"), "on, off, lz4, zle, lzjb, gzip, gzip-1 … gzip-9, zstd, zstd-1 … zstd-19"},
	"sync":         {encodeWord("sync"), "standard, always or disabled"},
	"logbias":      {encodeWord("logbias"), "latency or throughput"},
	"primarycache": {encodeWord("primarycache"), "all, metadata or none"},
}

// PropertyNames returns the properties that a container may choose, in order.
func PropertyNames() []string {
	var names []string
	for name := range propertyTable {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Check returns an error when a container may not choose the property or its value.
func (p Properties) Check() error {
	_, err := p.encode()
	return err
}

// encode returns the values as the kernel's numbers.
func (p Properties) encode() (map[string]uint64, error) {
	encoded := make(map[string]uint64, len(p))
	for name, value := range p {
		property, ok := propertyTable[name]
		if !ok {
			return nil, fault.New(fault.Invalid, "a container may not choose the property %q: known are %s", name, strings.Join(PropertyNames(), ", "))
		}
		n, ok := property.encode(value)
		if !ok {
			return nil, fault.New(fault.Invalid, "storage option %s=%q: want %s", name, value, property.values)
		}
		encoded[name] = n
	}
	return encoded, nil
}

// encodeWord returns an encoder of the words of a property.
func encodeWord(property string) func(string) (uint64, bool) {
	return func(value string) (uint64, bool) { return zfs.ParseWord(property, value) }
}

// encodeRecordSize accepts at most 1M. Larger records need a module parameter raised, and
// turn every small write in a database file into a rewrite of megabytes.
func encodeRecordSize(value string) (uint64, bool) {
	const smallest, largest = 512, 1 << 20
	size, err := units.RAMInBytes(value)
	if err != nil || size < smallest || size > largest || bits.OnesCount64(uint64(size)) != 1 {
		return 0, false
	}
	return uint64(size), true
}
