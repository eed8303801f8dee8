package zfs

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// beginRecord is the first record of a stream with lz4 and large dnodes.
func beginRecord() []byte {
	raw := make([]byte, sizeRecord)
	le.PutUint64(raw[offBeginMagic:], beginMagic)
	le.PutUint64(raw[offBeginInfo:], (1<<17|1<<22|1<<23)<<infoTypeBits|infoSubstream)
	le.PutUint32(raw[offBeginType:], objsetFilesystem)
	le.PutUint64(raw[offBeginTo:], 7)
	le.PutUint64(raw[offBeginFrom:], 5)
	copy(raw[offBeginToName:], "tank/a@b")
	return raw
}

func TestParseBegin(t *testing.T) {
	b, err := ParseBegin(append(beginRecord(), "more"...))
	if err != nil || b.ToGUID != 7 || b.FromGUID != 5 || b.ToName != "tank/a@b" || b.Type != Filesystem {
		t.Errorf("%+v, %v", b, err)
	}
	if got := b.Features(); !slices.Equal(got, []string{"org.illumos:lz4_compress", "org.zfsonlinux:large_dnode"}) {
		t.Errorf("%q", got)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"short":       func(raw []byte) []byte { return raw[:sizeRecord-1] },
		"no magic":    func(raw []byte) []byte { raw[offBeginMagic]++; return raw },
		"big endian":  func(raw []byte) []byte { slices.Reverse(raw[offBeginMagic : offBeginMagic+8]); return raw },
		"another":     func(raw []byte) []byte { raw[offRecordType] = 5; return raw },
		"a package":   func(raw []byte) []byte { raw[offBeginInfo] = raw[offBeginInfo]&^3 | 2; return raw },
		"no data set": func(raw []byte) []byte { raw[offBeginType] = 9; return raw },
	} {
		if _, err := ParseBegin(spoil(beginRecord())); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseBegin: any bytes are read or refused, and what is read is kept whole.
func FuzzParseBegin(f *testing.F) {
	f.Add(beginRecord())
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ParseBegin(raw)
		if err == nil && (len(b.raw) != sizeRecord || len(b.ToName) > 256) {
			t.Errorf("%+v", b)
		}
		_ = b.Features()
	})
}

func TestSendAndReceiveRefuseInvalidNames(t *testing.T) {
	b, err := ParseBegin(beginRecord())
	if err != nil {
		t.Fatal(err)
	}
	var h *Handle
	ctx := t.Context()
	for name, err := range map[string]error{
		"no snapshot":  h.Send(ctx, "tank/a", "", os.Stderr),
		"no from":      h.Send(ctx, "tank/a@b", "tank/a", os.Stderr),
		"another pool": h.Send(ctx, "tank/a@b", "other/a@a", os.Stderr),
		"nowhere":      h.Receive(ctx, "tank/a", b, Receiving{}, nil),
		"no record":    h.Receive(ctx, "tank/a@b", Begin{}, Receiving{}, nil),
		"a property":   h.Receive(ctx, "tank/a@b", b, Receiving{Properties: Properties{"sync": String("never")}}, nil),
	} {
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := h.Send(ctx, "tank/a@b", "", os.Stderr); !errors.Is(err, ErrClosed) {
		t.Errorf("without a handle: %v", err)
	}
}

// TestNoStreamHasBlocksInPointers: below an encrypted dataset none such is received.
func TestNoStreamHasBlocksInPointers(t *testing.T) {
	args, err := sendArgs("send", "tank/a@1", "fromsnap", Sending{})
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for _, arg := range args {
		flags = append(flags, arg.Name)
	}
	if !slices.Equal(flags, []string{"largeblockok", "compressok"}) {
		t.Errorf("flags %q", flags)
	}
}
