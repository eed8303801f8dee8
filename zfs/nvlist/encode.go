package nvlist

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

var le = binary.LittleEndian

// Encode packs a list for the kernel. It fails for a NUL in a name or string, a value of an
// unknown Go type, lists nested more than MaxDepth deep, and sizes beyond 31 bits.
func Encode(l List) ([]byte, error) {
	buf := make([]byte, 0, 256)
	buf = append(buf, encodingNative, littleEndian, 0, 0)
	buf = le.AppendUint32(buf, version)
	buf = le.AppendUint32(buf, uniqueName)
	return appendList(buf, l, 1)
}

// appendList writes the pairs of a list and its end.
func appendList(buf []byte, l List, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("nvlist: lists are nested more than %d deep", MaxDepth)
	}
	var err error
	for _, pair := range l {
		if buf, err = appendPair(buf, pair, depth); err != nil {
			return nil, err
		}
	}
	return le.AppendUint32(buf, 0), nil
}

func appendPair(buf []byte, pair Pair, depth int) ([]byte, error) {
	if strings.IndexByte(pair.Name, 0) >= 0 || len(pair.Name)+1 > math.MaxInt16 {
		return nil, fmt.Errorf("nvlist: the name %.80q is too long or holds a NUL", pair.Name)
	}
	kind, count, value, err := encodeValue(pair.Value)
	if err != nil {
		return nil, fmt.Errorf("nvlist: %q: %w", pair.Name, err)
	}
	nameEnd := align8(pairHeaderSize + len(pair.Name) + 1)
	size := nameEnd + align8(len(value))
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("nvlist: %q: the value is too long", pair.Name)
	}
	start := len(buf)
	buf = append(buf, make([]byte, size)...)
	at := buf[start:]
	le.PutUint32(at[0:], uint32(size))
	le.PutUint16(at[4:], uint16(len(pair.Name)+1))
	le.PutUint32(at[8:], uint32(count))
	le.PutUint32(at[12:], uint32(kind))
	copy(at[pairHeaderSize:], pair.Name)
	copy(at[nameEnd:], value)
	return appendEmbedded(buf, pair.Value, depth)
}

// appendEmbedded writes the pairs of lists that are values. They follow the pair and do not
// count in its size.
func appendEmbedded(buf []byte, value any, depth int) ([]byte, error) {
	switch v := value.(type) {
	case List:
		return appendList(buf, v, depth+1)
	case []List:
		var err error
		for _, inner := range v {
			if buf, err = appendList(buf, inner, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return buf, nil
}

// encodeValue returns a value's type, element count and bytes.
func encodeValue(value any) (kind, count int32, data []byte, err error) {
	switch v := value.(type) {
	case Boolean:
		return typeBoolean, 0, nil, nil
	case bool:
		var n uint32
		if v {
			n = 1
		}
		return typeBooleanValue, 1, le.AppendUint32(nil, n), nil
	case int32:
		return typeInt32, 1, le.AppendUint32(nil, uint32(v)), nil
	case int64:
		return typeInt64, 1, le.AppendUint64(nil, uint64(v)), nil
	case uint64:
		return typeUint64, 1, le.AppendUint64(nil, v), nil
	case string:
		if strings.IndexByte(v, 0) >= 0 {
			return 0, 0, nil, fmt.Errorf("the string %.80q holds a NUL", v)
		}
		return typeString, 1, append([]byte(v), 0), nil
	case []uint64:
		for _, n := range v {
			data = le.AppendUint64(data, n)
		}
		return typeUint64Array, int32(len(v)), data, nil
	case List:
		return typeNVList, 1, listStruct(), nil
	case []List:
		data = make([]byte, pointerSize*len(v))
		for range v {
			data = append(data, listStruct()...)
		}
		return typeNVListArray, int32(len(v)), data, nil
	case Other:
		return v.encode()
	}
	return 0, 0, nil, fmt.Errorf("a value of type %T cannot be packed", value)
}

// encode returns an uninterpreted value unchanged.
func (o Other) encode() (kind, count int32, data []byte, err error) {
	if interpreted(o.Type) || o.Type <= 0 || o.Type > typeMax || o.Count < 0 || len(o.Data)%8 != 0 {
		return 0, 0, nil, fmt.Errorf("type %d with %d elements in %d bytes cannot be packed as it is", o.Type, o.Count, len(o.Data))
	}
	return o.Type, o.Count, o.Data, nil
}

// interpreted reports whether a type has a Go type of its own here.
func interpreted(kind int32) bool {
	switch kind {
	case typeBoolean, typeInt32, typeInt64, typeUint64, typeString, typeUint64Array, typeNVList, typeNVListArray, typeBooleanValue:
		return true
	}
	return false
}

// listStruct is the nvlist_t that stands for a list in a pair: version,
// flags, a pointer, more flags, padding.
func listStruct() []byte {
	s := make([]byte, listStructSize)
	le.PutUint32(s[4:], uniqueName)
	return s
}
