package nvlist

// List is a name-value list in the order of its pairs. Names are unique in
// every list that the module makes or takes.
type List []Pair

// Pair is one name and its value. The value's Go type says the pair's type:
//
//	Boolean  DATA_TYPE_BOOLEAN, whose presence is all it says
//	bool     DATA_TYPE_BOOLEAN_VALUE
//	int32    DATA_TYPE_INT32
//	int64    DATA_TYPE_INT64
//	uint64   DATA_TYPE_UINT64
//	string   DATA_TYPE_STRING, which cannot hold a NUL
//	[]uint64 DATA_TYPE_UINT64_ARRAY
//	List     DATA_TYPE_NVLIST
//	[]List   DATA_TYPE_NVLIST_ARRAY
//	Other    any other type, as it came
type Pair struct {
	Name  string
	Value any
}

// Boolean is the value of a pair whose presence is its meaning.
type Boolean struct{}

// Other is a value of a type that this package does not interpret.
type Other struct {
	Type  int32  // data_type_t of include/sys/nvpair.h
	Count int32  // nvp_value_elem
	Data  []byte // the value, padded to a multiple of 8 bytes
}

// The numbers of data_type_t (include/sys/nvpair.h).
const (
	typeBoolean      = 1
	typeInt32        = 5
	typeInt64        = 7
	typeUint64       = 8
	typeString       = 9
	typeUint64Array  = 16
	typeNVList       = 19
	typeNVListArray  = 20
	typeBooleanValue = 21
	typeMax          = 27 // DATA_TYPE_DOUBLE; the kernel's last is 26
)

// The layout of the encoding (struct nvpair and struct nvlist of
// include/sys/nvpair.h, nvs_header_t of module/nvpair/nvpair.c).
const (
	headerSize     = 12 // encoding, byte order, two unused bytes; version; flags
	pairHeaderSize = 16 // size, name length, unused, element count, type
	listStructSize = 24 // nvlist_t, which stands as the value of a list
	pointerSize    = 8  // before the nvlist_t's of an array of lists
	endSize        = 4  // the zero size that ends a list

	encodingNative = 0
	littleEndian   = 1
	version        = 0
	uniqueName     = 1 // NV_UNIQUE_NAME
)

// MaxDepth is how deeply lists may be nested. A pool's configuration uses
// fewer than ten levels.
const MaxDepth = 64

// Lookup returns the value of the first pair of that name.
func (l List) Lookup(name string) (any, bool) {
	for _, pair := range l {
		if pair.Name == name {
			return pair.Value, true
		}
	}
	return nil, false
}

// Uint64 returns the number of that name.
func (l List) Uint64(name string) (uint64, bool) { return get[uint64](l, name) }

// String returns the string of that name.
func (l List) String(name string) (string, bool) { return get[string](l, name) }

// List returns the list of that name.
func (l List) List(name string) (List, bool) { return get[List](l, name) }

func get[T any](l List, name string) (T, bool) {
	value, _ := l.Lookup(name)
	typed, ok := value.(T)
	return typed, ok
}

func align8(n int) int { return (n + 7) &^ 7 }
