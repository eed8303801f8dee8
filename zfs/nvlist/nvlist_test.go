package nvlist

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden are lists and their bytes, put together by hand from the structures
// in include/sys/nvpair.h.
var golden = []struct {
	name string
	list List
	hex  string
}{
	{"nothing", List{}, "00010000 00000000 01000000  00000000"},
	{"a boolean", List{{"a", Boolean{}}}, "00010000 00000000 01000000" +
		"18000000 0200 0000 00000000 01000000 6100000000000000" + "00000000"},
	{"a boolean value", List{{"force", false}}, "00010000 00000000 01000000" +
		"20000000 0600 0000 01000000 15000000 666f726365000000 0000000000000000" + "00000000"},
	{"an int32", List{{"type", int32(2)}}, "00010000 00000000 01000000" +
		"20000000 0500 0000 01000000 05000000 7479706500000000 0200000000000000" + "00000000"},
	{"a string", List{{"target", "tank@x"}}, "00010000 00000000 01000000" +
		"20000000 0700 0000 01000000 09000000 7461726765740000 74616e6b40780000" + "00000000"},
	{"numbers", List{{"q", []uint64{9, 1 << 40}}}, "00010000 00000000 01000000" +
		"28000000 0200 0000 02000000 10000000 7100000000000000 0900000000000000 0000000000010000" + "00000000"},
	{"a list", List{{"l", List{{"n", uint64(5)}}}, {"z", Boolean{}}}, "00010000 00000000 01000000" +
		"30000000 0200 0000 01000000 13000000 6c00000000000000" +
		"00000000 01000000 0000000000000000 00000000 00000000" +
		"20000000 0200 0000 01000000 08000000 6e00000000000000 0500000000000000" + "00000000" +
		"18000000 0200 0000 00000000 01000000 7a00000000000000" + "00000000"},
	{"two lists", List{{"l", []List{{}, {{"b", Boolean{}}}}}}, "00010000 00000000 01000000" +
		"58000000 0200 0000 02000000 14000000 6c00000000000000" +
		"0000000000000000 0000000000000000" +
		"00000000 01000000 0000000000000000 00000000 00000000" +
		"00000000 01000000 0000000000000000 00000000 00000000" +
		"00000000" +
		"18000000 0200 0000 00000000 01000000 6200000000000000" + "00000000" +
		"00000000"},
}

func TestGoldenBytes(t *testing.T) {
	for _, tt := range golden {
		want, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Encode(tt.list)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s became\n%x, %v, want\n%x", tt.name, got, err, want)
		}
		back, err := Decode(want)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.list, back); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	list := List{
		{"", "an empty name"},
		{"eight by", uint64(math.MaxUint64)},
		{"negative", int32(-1)},
		{"long", int64(math.MinInt64)},
		{"yes", true},
		{"no", false},
		{"empty string", ""},
		{"string", strings.Repeat("ä", 5000)},
		{"no numbers", []uint64{}},
		{"no lists", []List{}},
		{"other", Other{Type: 17, Count: 1, Data: []byte("12345678")}},
		{"nested", List{{"a", List{{"b", List{}}}}, {"c", []List{{{"d", Boolean{}}}, {}}}}},
		{"last", Boolean{}},
	}
	data, err := Encode(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, rest := range [][]byte{nil, []byte("what was in the buffer before")} {
		got, err := Decode(append(bytes.Clone(data), rest...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(list, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLookups(t *testing.T) {
	l := List{{"n", uint64(3)}, {"s", "x"}, {"l", List{{"in", Boolean{}}}}}
	if n, ok := l.Uint64("n"); !ok || n != 3 {
		t.Error(n, ok)
	}
	if s, ok := l.String("s"); !ok || s != "x" {
		t.Error(s, ok)
	}
	if inner, ok := l.List("l"); !ok || len(inner) != 1 {
		t.Error(inner, ok)
	}
	if _, ok := l.Uint64("s"); ok {
		t.Error("a string passed for a number")
	}
	if _, ok := l.Lookup("none"); ok {
		t.Error("a missing name was found")
	}
}

func TestEncodeRefuses(t *testing.T) {
	deep := List{}
	for range MaxDepth {
		deep = List{{"x", deep}}
	}
	for name, list := range map[string]List{
		"a NUL in a name":   {{"a\x00b", Boolean{}}},
		"a NUL in a string": {{"a", "b\x00c"}},
		"a long name":       {{strings.Repeat("a", math.MaxInt16), Boolean{}}},
		"an int":            {{"a", 1}},
		"nil":               {{"a", nil}},
		"depth":             deep,
		"a false other":     {{"a", Other{Type: typeUint64, Count: 1, Data: make([]byte, 8)}}},
		"an odd other":      {{"a", Other{Type: 17, Count: 1, Data: make([]byte, 7)}}},
	} {
		if _, err := Encode(list); err == nil {
			t.Errorf("%s was packed", name)
		}
	}
}

// TestDecodeRefuses damages one field of a sound list at a time.
func TestDecodeRefuses(t *testing.T) {
	const pair = headerSize
	sound, err := Encode(List{{"ab", []uint64{1, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	put32 := func(at int, n uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[at:], n); return b }
	}
	put16 := func(at int, n uint16) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint16(b[at:], n); return b }
	}
	for name, damage := range map[string]func([]byte) []byte{
		"XDR":                     func(b []byte) []byte { b[0] = 1; return b },
		"big-endian":              func(b []byte) []byte { b[1] = 0; return b },
		"another version":         put32(4, 1),
		"a short header":          func(b []byte) []byte { return b[:headerSize-1] },
		"no pair":                 func(b []byte) []byte { return b[:headerSize] },
		"no end":                  func(b []byte) []byte { return b[:len(b)-1] },
		"a pair cut off":          func(b []byte) []byte { return b[:pair+20] },
		"a small pair":            put32(pair, 8),
		"an odd pair":             put32(pair, 41),
		"a large pair":            put32(pair, 1<<30),
		"a negative pair":         put32(pair, 0xfffffff8),
		"no name":                 put16(pair+4, 0),
		"a negative name":         put16(pair+4, 0xffff),
		"a long name":             put16(pair+4, 100),
		"a name without its NUL":  put16(pair+4, 2),
		"a name with two":         put16(pair+4, 4),
		"too many elements":       put32(pair+8, 3),
		"very many elements":      put32(pair+8, math.MaxInt32),
		"a negative count":        put32(pair+8, 1<<31),
		"no type":                 put32(pair+12, 0),
		"a type beyond the last":  put32(pair+12, typeMax+1),
		"a boolean with elements": put32(pair+12, typeBoolean),
		"two lists in one":        put32(pair+12, typeNVList),
		"many lists":              put32(pair+12, typeNVListArray),
	} {
		if l, err := Decode(damage(bytes.Clone(sound))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}

func TestDecodeEndsAtItsDepth(t *testing.T) {
	// Encode refuses lists of this depth, so the bytes are put together here.
	inner, err := Encode(List{})
	if err != nil {
		t.Fatal(err)
	}
	one, err := Encode(List{{"x", List{}}})
	if err != nil {
		t.Fatal(err)
	}
	pair := one[headerSize : len(one)-2*endSize]
	data := append(bytes.Clone(inner[:headerSize]), bytes.Repeat(pair, 100000)...)
	if _, err := Decode(data); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

// TestAnswersOfTheModule reads what OpenZFS 2.3.9 on amd64 answered: the
// holds of a snapshot, a snapshot's properties, a pool's configuration. Packed
// again they are the same to the byte.
func TestAnswersOfTheModule(t *testing.T) {
	for name, has := range map[string]string{"holds": "tag", "snapshot": "overlayzfs:a", "pool": "vdev_tree"} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".nvlist"))
		if err != nil {
			t.Fatal(err)
		}
		list, err := Decode(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := list.Lookup(has); !ok {
			t.Errorf("%s has no %s", name, has)
		}
		again, err := Encode(list)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s was packed to other bytes: %v", name, err)
		}
	}
}
