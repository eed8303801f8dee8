package quota

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
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
// and nothing for any other dataset. The numbers of index properties are those of
// include/sys/fs/zfs.h and include/sys/zio_compress.h, unchanged from OpenZFS 2.1 to 2.4.
var propertyTable = map[string]property{
	"recordsize":   {encodeRecordSize, "a power of two from 512 to 1M"},
	"compression":  {encodeCompression, "on, off, lz4, zle, lzjb, gzip, gzip-1 … gzip-9, zstd, zstd-1 … zstd-19"},
	"sync":         {encodeIndex("standard", "always", "disabled"), "standard, always or disabled"},
	"logbias":      {encodeIndex("latency", "throughput"), "latency or throughput"},
	"primarycache": {encodeIndex("none", "metadata", "all"), "all, metadata or none"},
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

// encodeIndex returns an encoder of values by their index in the list.
func encodeIndex(values ...string) func(string) (uint64, bool) {
	return func(value string) (uint64, bool) {
		i := slices.Index(values, value)
		return uint64(max(i, 0)), i >= 0
	}
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

// The numbers of enum zio_compress, and the position of a level above them.
const (
	compressGzip1 = 5
	compressZstd  = 16
	compressBits  = 7
)

func encodeCompression(value string) (uint64, bool) {
	named := map[string]uint64{
		"on": 1, "off": 2, "lzjb": 3, "gzip": compressGzip1 + 5, "zle": 14, "lz4": 15, "zstd": compressZstd,
	}
	if n, ok := named[value]; ok {
		return n, true
	}
	algorithm, level, _ := strings.Cut(value, "-")
	n, err := strconv.ParseUint(level, 10, 8)
	if err != nil || strconv.FormatUint(n, 10) != level {
		return 0, false
	}
	switch {
	case algorithm == "gzip" && n >= 1 && n <= 9:
		return compressGzip1 + n - 1, true
	case algorithm == "zstd" && n >= 1 && n <= 19:
		return compressZstd | n<<compressBits, true
	}
	return 0, false
}
