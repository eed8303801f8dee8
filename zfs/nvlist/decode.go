package nvlist

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrMalformed is in every error of Decode.
var ErrMalformed = errors.New("malformed nvlist")

// Decode reads a packed list. It trusts nothing: it checks each length, limits nesting to
// MaxDepth, and uses memory in proportion to len(data). It ignores bytes after the list's
// end, because the kernel leaves the rest of a buffer unchanged.
func Decode(data []byte) (List, error) {
	if len(data) < headerSize {
		return nil, malformed("%d bytes are too short", len(data))
	}
	if data[0] != encodingNative || data[1] != littleEndian {
		return nil, malformed("encoding %d with byte order %d is not native little-endian", data[0], data[1])
	}
	if v := le.Uint32(data[4:]); v != version {
		return nil, malformed("version %d is unknown", v)
	}
	d := decoder{rest: data[headerSize:]}
	return d.list(1)
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// decoder reads from the front of rest.
type decoder struct {
	rest []byte
}

func (d *decoder) list(depth int) (List, error) {
	if depth > MaxDepth {
		return nil, malformed("lists are nested more than %d deep", MaxDepth)
	}
	l := List{}
	for {
		raw, err := d.pair()
		if err != nil || raw == nil {
			return l, err
		}
		pair, err := d.decodePair(raw, depth)
		if err != nil {
			return nil, err
		}
		l = append(l, pair)
	}
}

// pair removes and returns the next pair, or returns nil at the end of the list.
func (d *decoder) pair() ([]byte, error) {
	if len(d.rest) < endSize {
		return nil, malformed("the list does not end")
	}
	size := int64(int32(le.Uint32(d.rest)))
	if size == 0 {
		d.rest = d.rest[endSize:]
		return nil, nil
	}
	if size < pairHeaderSize || size > int64(len(d.rest)) || size%8 != 0 {
		return nil, malformed("a pair of %d bytes where %d are left", size, len(d.rest))
	}
	raw := d.rest[:size]
	d.rest = d.rest[size:]
	return raw, nil
}

func (d *decoder) decodePair(raw []byte, depth int) (Pair, error) {
	nameLen := int(int16(le.Uint16(raw[4:])))
	if nameLen <= 0 || align8(pairHeaderSize+nameLen) > len(raw) {
		return Pair{}, malformed("a name of %d bytes in a pair of %d", nameLen, len(raw))
	}
	name := raw[pairHeaderSize : pairHeaderSize+nameLen]
	if bytes.IndexByte(name, 0) != nameLen-1 {
		return Pair{}, malformed("the name %.80q does not end with its NUL", name)
	}
	field := value{
		kind:  int32(le.Uint32(raw[12:])),
		count: int32(le.Uint32(raw[8:])),
		data:  raw[align8(pairHeaderSize+nameLen):],
	}
	pair := Pair{Name: string(name[:nameLen-1])}
	var err error
	if pair.Value, err = d.value(field, depth); err != nil {
		return Pair{}, fmt.Errorf("%.80q: %w", pair.Name, err)
	}
	return pair, nil
}

// value is a pair's value before it is interpreted.
type value struct {
	kind  int32
	count int32
	data  []byte
}

func (d *decoder) value(v value, depth int) (any, error) {
	switch v.kind {
	case typeNVList:
		if v.count != 1 || len(v.data) < listStructSize {
			return nil, v.malformed()
		}
		return d.list(depth + 1)
	case typeNVListArray:
		return d.lists(v, depth)
	}
	return v.scalar()
}

// lists reads an array of lists. Each list has a nvlist_t in the pair, so the pair's size
// bounds a false count.
func (d *decoder) lists(v value, depth int) (any, error) {
	if v.count < 0 || int64(v.count)*(pointerSize+listStructSize) > int64(len(v.data)) {
		return nil, v.malformed()
	}
	lists := make([]List, 0, v.count)
	for range v.count {
		l, err := d.list(depth + 1)
		if err != nil {
			return nil, err
		}
		lists = append(lists, l)
	}
	return lists, nil
}

// scalar reads a value that is not a list.
func (v value) scalar() (any, error) {
	switch v.kind {
	case typeBoolean:
		if v.count == 0 {
			return Boolean{}, nil
		}
	case typeBooleanValue:
		if v.isSingle(4) && le.Uint32(v.data) <= 1 {
			return le.Uint32(v.data) == 1, nil
		}
	case typeInt32:
		if v.isSingle(4) {
			return int32(le.Uint32(v.data)), nil
		}
	case typeInt64:
		if v.isSingle(8) {
			return int64(le.Uint64(v.data)), nil
		}
	case typeUint64:
		if v.isSingle(8) {
			return le.Uint64(v.data), nil
		}
	case typeString:
		if end := bytes.IndexByte(v.data, 0); v.count == 1 && end >= 0 {
			return string(v.data[:end]), nil
		}
	case typeUint64Array:
		return v.numbers()
	default:
		if v.kind > 0 && v.kind <= typeMax && v.count >= 0 {
			return Other{Type: v.kind, Count: v.count, Data: bytes.Clone(v.data)}, nil
		}
	}
	return nil, v.malformed()
}

// isSingle reports whether v is a single value of that many bytes.
func (v value) isSingle(size int) bool { return v.count == 1 && len(v.data) >= size }

func (v value) numbers() (any, error) {
	if v.count < 0 || int64(v.count)*8 > int64(len(v.data)) {
		return nil, v.malformed()
	}
	numbers := make([]uint64, v.count)
	for i := range numbers {
		numbers[i] = le.Uint64(v.data[8*i:])
	}
	return numbers, nil
}

func (v value) malformed() error {
	return malformed("%d elements of type %d in %d bytes", v.count, v.kind, len(v.data))
}
