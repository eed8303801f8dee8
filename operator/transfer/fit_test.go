package transfer

import (
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// TestOnlyWhatWasSentIsGoneOnFrom: a stream that was killed left a snapshot that
// no receiver has.
func TestOnlyWhatWasSentIsGoneOnFrom(t *testing.T) {
	snap := func(name string, txg uint64, state, source string) zfs.Dataset {
		return zfs.Dataset{Name: name, CreateTXG: txg, Properties: map[string]zfs.Property{sentProperty: {Value: zfs.String(state), Source: source}}}
	}
	all := func() []zfs.Dataset {
		return []zfs.Dataset{snap("a@3", 3, stateSending, "a@3"), snap("a@2", 2, stateSent, "a@2"), snap("a@1", 1, stateSent, "a@1"), {Name: "a@received", CreateTXG: 4}, snap("a@x", 5, stateSending, "a")}
	}
	if got := filterByState(all(), stateSent); len(got) != 2 || got[1].Name != "a@2" {
		t.Errorf("sent: %+v", got)
	}
	if got := filterByState(all(), stateSending); len(got) != 1 || got[0].Name != "a@3" {
		t.Errorf("abandoned: %+v", got)
	}
}

func TestMisfits(t *testing.T) {
	full := Header{Name: "s2", GUID: 2, Bytes: 100, Format: 1}
	more := Header{Name: "s3", GUID: 3, From: "s2", FromGUID: 2, Bytes: 100, Format: 1}
	free := Target{Dataset: "tank/docker", Parent: true, Available: 1000}
	there := Target{Dataset: "tank/docker", Parent: true, Available: 1000, Exists: true, Snapshots: []zfs.Dataset{{Name: "tank/docker@s1", GUID: 1}, {Name: "tank/docker@s2", GUID: 2}}}
	with := func(t Target, change func(*Target)) Target { change(&t); return t }
	for name, tt := range map[string]struct {
		target Target
		header Header
		says   string // nothing where it fits
	}{
		"everything":           {free, full, ""},
		"onto something":       {with(there, func(t *Target) { t.Snapshots = nil }), full, "exists, and a full stream creates a new one"},
		"a second time":        {there, full, "already"},
		"no parent":            {with(free, func(t *Target) { t.Parent = false }), full, "tank does not exist"},
		"no room":              {with(free, func(t *Target) { t.Available = 99 }), full, "only 99B are available"},
		"features":             {with(free, func(t *Target) { t.MissingFeatures = []string{"org.freebsd:zstd_compress"} }), full, "zstd_compress"},
		"a raw stream":         {with(free, func(t *Target) { t.Raw = true }), full, "encrypted with the sender's key"},
		"a format of tomorrow": {free, Header{Name: "x", GUID: 9, Format: 2}, "format version 2"},
		"what has changed":     {there, more, ""},
		"without the first":    {free, more, "send a full stream first"},
		"of another store":     {with(there, func(t *Target) { t.Snapshots = t.Snapshots[:1] }), more, "and has: s1"},
		"the same again":       {there, Header{Name: "s2", GUID: 2, From: "s1", FromGUID: 1, Format: 1}, "already"},
		"newer snapshots":      {there, Header{Name: "s3", GUID: 3, From: "s1", FromGUID: 1, Format: 1}, "s2; allow that with --discard"},
		"another of that name": {there, Header{Name: "s1", GUID: 9, From: "s2", FromGUID: 2, Format: 1}, "a different snapshot named s1"},
		"a limited container":  {with(there, func(t *Target) { t.LimitedChildren = []string{"tank/docker/X"} }), more, "tank/docker/X"},
	} {
		why := tt.target.FindMisfits(tt.header, false)
		if tt.says == "" && len(why) > 0 || tt.says != "" && (len(why) != 1 || !strings.Contains(why[0], tt.says)) {
			t.Errorf("%s: %q", name, why)
		}
	}
	if got := []string{there.CommonSnapshot(more), there.CommonSnapshot(full), free.CommonSnapshot(more)}; strings.Join(got, ",") != "tank/docker@s2,," {
		t.Errorf("it goes on from %q", got)
	}
	if why := there.FindMisfits(Header{Name: "s3", GUID: 3, From: "s1", FromGUID: 1, Format: 1}, true); len(why) > 0 {
		t.Errorf("with --discard: %q", why)
	}
}
