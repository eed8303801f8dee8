package transfer

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// zfsStream begins as ZFS's does, from snapshot 5 to 7.
func zfsStream(size int) []byte {
	raw := make([]byte, zfs.BeginSize, zfs.BeginSize+size)
	le.PutUint64(raw[8:], 0x2f5bacbac)
	le.PutUint64(raw[16:], 1)
	le.PutUint32(raw[32:], 2)
	le.PutUint64(raw[40:], 7)
	le.PutUint64(raw[48:], 5)
	for i := range size {
		raw = append(raw, byte(i%251))
	}
	return raw
}

var le = binary.LittleEndian

// The frame's magic and the size of its parts.
const (
	magic   = "overlayzfs-send\n"
	maxPart = 1 << 20
)

var header = Header{
	Name: "overlayzfs-sent-2", GUID: 7, From: "overlayzfs-sent-1", FromGUID: 5, Time: time.Unix(1700000000, 0).UTC(), Bytes: 1000,
	Images: 2, Layers: 3, Format: 1, OpenZFS: "2.3.9",
}

func write(t testing.TB, h Header, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, iotest.OneByteReader(bytes.NewReader(content))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestThereAndBack(t *testing.T) {
	for _, size := range []int{0, 1, maxPart - zfs.BeginSize, maxPart, 3*maxPart + 17} {
		content := zfsStream(size)
		s, err := NewReader(bytes.NewReader(append(write(t, header, content), "what follows"...)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(header, s.Header); diff != "" || s.Begin.ToGUID != 7 {
			t.Errorf("%s%+v", diff, s.Begin)
		}
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, content[zfs.BeginSize:]) {
			t.Errorf("of %d bytes came back %d, %v", size, len(got), err)
		}
	}
}

// TestNoDamageIsGivenAway: whatever byte is wrong or missing, reading fails, and
// what was read before is as it was sent.
func TestNoDamageIsGivenAway(t *testing.T) {
	content := zfsStream(1000)
	whole := write(t, header, content)
	all := func(raw []byte) error {
		s, err := NewReader(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		got, err := io.ReadAll(s)
		if !bytes.HasPrefix(content[zfs.BeginSize:], got) {
			t.Fatal("something wrong is given away")
		}
		return err
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x10
		if err := all(damaged); err == nil {
			t.Fatalf("byte %d is wrong, and it is read", i)
		}
		if err := all(whole[:i]); err == nil {
			t.Fatalf("%d bytes are read as if they were all", i)
		}
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	whole := write(t, header, zfsStream(10))
	newer, other := bytes.Clone(whole), bytes.Clone(whole)
	newer[len(magic)], other[len(magic)] = 3, 2
	for name, tt := range map[string]struct {
		raw  []byte
		says string
	}{
		"a version of tomorrow": {newer, "version 3"},
		"containerd's images":   {other, "holds containerd's images"},
		"zfs send":              {zfsStream(1000), "not a stream of"},
		"nothing":               {nil, "not a stream of"},
		"another's stream":      {write(t, Header{Name: "x", GUID: 8, From: "y", FromGUID: 5}, zfsStream(10)), "does not match"},
	} {
		if _, err := NewReader(bytes.NewReader(tt.raw)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, h := range []Header{{}, {Name: "a@b", GUID: 1}, {Name: "a/b", GUID: 1}, {Name: "a", GUID: 1, From: "b"}, {Name: "a", GUID: 1, FromGUID: 2}, {Name: "a", GUID: 1, Images: -1}} {
		if _, err := NewWriter(io.Discard, h); err == nil {
			t.Errorf("%+v is written", h)
		}
	}
}

// FuzzReader: any bytes are read or refused with a reason, and what is read to its
// end had its checksums.
func FuzzReader(f *testing.F) {
	f.Add(write(f, header, zfsStream(100)))
	f.Add(write(f, Header{Name: "x", GUID: 7}, zfsStream(0))[:50])
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := NewReader(bytes.NewReader(raw))
		if err == nil {
			_, err = io.Copy(io.Discard, s)
		}
		if err != nil && fault.ClassOf(err) == "" {
			t.Fatal(err)
		}
	})
}

// TestReaderStopsAtTheEnd, where another stream may follow.
func TestReaderStopsAtTheEnd(t *testing.T) {
	rest := bytes.NewReader(append(write(t, header, zfsStream(100)), "next"...))
	r, err := NewReader(rest)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := io.ReadAll(r); err != nil {
			t.Errorf("%v", err)
		}
	}
	if rest.Len() != len("next") {
		t.Errorf("%d bytes are left", rest.Len())
	}
}
