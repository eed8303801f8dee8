package quota

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Properties are those of a layer's own dataset, by name, as the user wrote
// them. Only what PropertyNames lists ever gets in.
type Properties map[string]string

// property is one that a container may choose: how its values are told to the
// kernel, and which there are.
type property struct {
	encode func(value string) (uint64, bool)
	values string
}

// known are the properties that change how a container's own data is stored,
// and nothing for anyone else. Numbers of index properties are those of
// include/sys/fs/zfs.h and include/sys/zio_compress.h, unchanged from OpenZFS 2.1
// to 2.4.
var known = map[string]property{
	"recordsize":   {encodeRecordSize, "a power of two from 512 to 1M"},
	"compression":  {encodeCompression, "on, off, lz4, zle, lzjb, gzip, gzip-1 … gzip-9, zstd, zstd-1 … zstd-19"},
	"sync":         {index("standard", "always", "disabled"), "standard, always or disabled"},
	"logbias":      {index("latency", "throughput"), "latency or throughput"},
	"primarycache": {index("none", "metadata", "all"), "all, metadata or none"},
}

// PropertyNames lists what a container may choose, in order.
func PropertyNames() []string {
	var names []string
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Check makes sure that a property is one a container may choose and that the
// value is one it takes.
func (p Properties) Check() error {
	_, err := p.encode()
	return err
}

// encode gives the values as the kernel takes them.
func (p Properties) encode() (map[string]uint64, error) {
	encoded := make(map[string]uint64, len(p))
	for name, value := range p {
		property, ok := known[name]
		if !ok {
			return nil, fault.New(fault.Invalid, "%q is no property that a container may choose: known are %s", name, strings.Join(PropertyNames(), ", "))
		}
		n, ok := property.encode(value)
		if !ok {
			return nil, fault.New(fault.Invalid, "storage option %s=%q: want %s", name, value, property.values)
		}
		encoded[name] = n
	}
	return encoded, nil
}

// index encodes a value as its place in the list.
func index(values ...string) func(string) (uint64, bool) {
	return func(value string) (uint64, bool) {
		i := slices.Index(values, value)
		return uint64(max(i, 0)), i >= 0
	}
}

// encodeRecordSize stops at 1M: larger records need a module parameter raised
// and make every small write in a database file a rewrite of megabytes.
func encodeRecordSize(value string) (uint64, bool) {
	const smallest, largest = 512, 1 << 20
	size, err := units.RAMInBytes(value)
	if err != nil || size < smallest || size > largest || bits.OnesCount64(uint64(size)) != 1 {
		return 0, false
	}
	return uint64(size), true
}

// The numbers of enum zio_compress, and how a level is packed above them.
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
