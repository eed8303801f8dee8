package snapshot

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/zfs"
)

func TestNames(t *testing.T) {
	at := time.Date(2026, 3, 1, 1, 2, 3, 999, time.FixedZone("", 3600))
	name := makeName(Stop, at, 2)
	if want := "overlayzfs-stop-20260301T000203Z-2"; name != want {
		t.Errorf("got %q, want %q", name, want)
	}
	snapshot := snapshotName("tank/docker/layers", name)
	if err := zfs.CheckSnapshotName(snapshot); err != nil {
		t.Error(err)
	}
	if datasetOf(snapshot) != "tank/docker/layers" || baseName(snapshot) != name {
		t.Errorf("%q is taken apart into %q and %q", snapshot, datasetOf(snapshot), baseName(snapshot))
	}
}

func TestOursHasNameAndOwnProperty(t *testing.T) {
	with := func(name, source string) zfs.Dataset {
		return zfs.Dataset{Name: name, Properties: map[string]zfs.Property{
			eventProperty: {Value: zfs.String("stop"), Source: source},
		}}
	}
	for _, tt := range []struct {
		s    zfs.Dataset
		want bool
	}{
		{with("tank@overlayzfs-stop-x", "tank@overlayzfs-stop-x"), true},
		{with("tank@overlayzfs-stop-x", "tank"), false},
		{with("tank@daily", "tank@daily"), false},
		{zfs.Dataset{Name: "tank@overlayzfs-stop-x"}, false},
	} {
		if got := isOurs(tt.s); got != tt.want {
			t.Errorf("%v: %v", tt.s, got)
		}
	}
}

func TestLimitsAreRemembered(t *testing.T) {
	key := func(n int) string {
		return "ABCDEFGHIJKLMNOPQRSTUVWX" + string(rune('A'+n/10)) + string(rune('0'+n%10))
	}
	var keys []string
	for n := range 100 {
		keys = append(keys, key(n))
	}
	for _, n := range []int{0, 1, maxKeys, 100} {
		got := parseLimitedLayers(limitedLayers{n, keys[:n]}.String())
		if got.count != n || !cmp.Equal(got.keys, keys[:min(n, maxKeys)], cmp.Comparer(func(a, b []string) bool {
			return len(a) == len(b) && (len(a) == 0 || a[len(a)-1] == b[len(b)-1])
		})) {
			t.Errorf("%d limited layers became %+v", n, got)
		}
	}
	if got := parseLimitedLayers("nonsense"); got.count != 0 || got.keys != nil {
		t.Errorf("nonsense became %+v", got)
	}
}

// TestRetentionGoesByTransactionGroup takes the newest snapshot with a clock that was set back by
// a year.
func TestRetentionGoesByTransactionGroup(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	infos := []Info{
		{Name: "newest", Event: Stop, CreateTXG: 50, Time: now.AddDate(-1, 0, 0)},
		{Name: "oldest", Event: Stop, CreateTXG: 10, Time: now},
		{Name: "held", Event: Stop, CreateTXG: 20, held: true},
		{Name: "cloned", Event: Stop, CreateTXG: 25, Clones: 1},
		{Name: "old", Event: Stop, CreateTXG: 30, Time: now},
		{Name: "kept", Event: Stop, CreateTXG: 40, Time: now},
		{Name: "other event", Event: Start, CreateTXG: 1},
		{Name: "by hand", Event: Manual, CreateTXG: 1},
		{Name: "unknown event", Event: "lunar", CreateTXG: 1},
		{Name: "daily", Event: Daily, CreateTXG: 2},
	}
	var got []string
	for _, info := range listExcess(infos, Policy{Stop: 2, Daily: 1}) {
		got = append(got, info.Name)
	}
	if diff := cmp.Diff([]string{"oldest", "old"}, got); diff != "" {
		t.Errorf("destroyed (-want +got):\n%s", diff)
	}
	if info, ok := newest(infos, Stop); !ok || info.Name != "newest" {
		t.Errorf("the newest is %q", info.Name)
	}
}

func TestDue(t *testing.T) {
	born := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	last := born.AddDate(1, 0, 0)
	for name, tt := range map[string]struct {
		now, last time.Time
		want      bool
	}{
		"none yet":                       {last, time.Time{}, true},
		"young":                          {last.Add(23 * time.Hour), last, false},
		"old enough":                     {last.Add(24 * time.Hour), last, true},
		"clock a little back":            {last.Add(-23 * time.Hour), last, false},
		"clock back by days":             {last.Add(-48 * time.Hour), last, true},
		"clock not set since the start":  {time.Unix(0, 0), last, false},
		"taken while it was not, and is": {last, time.Unix(0, 0), true},
	} {
		if got := isDue(tt.now, tt.last, born, Daily.interval()); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOverlayPaths(t *testing.T) {
	got := overlayPaths("rw,lowerdir=l/A:/a/b,upperdir=/u,workdir=w,index=off")
	if diff := cmp.Diff([]string{"/a/b", "/u"}, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

// TestAMissingPropertyIsEmpty guards against a bug: a snapshot without Docker's records seemed to
// name a dataset called 0.
func TestAMissingPropertyIsEmpty(t *testing.T) {
	s := zfs.Dataset{Properties: map[string]zfs.Property{eventProperty: {Value: zfs.String("stop")}}}
	if got := propertyText(s, recordsProperty); got != "" {
		t.Errorf("it is %q", got)
	}
	if got := propertyText(s, eventProperty); got != "stop" {
		t.Errorf("one that is there is %q", got)
	}
}

// TestTheLayersDatasetIsFoundByBothProperties reads the property that this version writes, and the
// property of versions before it got its own name.
func TestTheLayersDatasetIsFoundByBothProperties(t *testing.T) {
	snapshot := func(properties map[string]string) zfs.Dataset {
		s := zfs.Dataset{Name: "tank/docker@overlayzfs-stop-x", Properties: map[string]zfs.Property{}}
		for name, value := range properties {
			s.Properties[name] = zfs.Property{Value: zfs.String(value), Source: s.Name}
		}
		return s
	}
	written := properties(Stop, 42, "tank/docker", nil)
	if _, there := written["overlayzfs:store"]; there {
		t.Error("the property of package quota is written to a snapshot")
	}
	for name, tt := range map[string]struct {
		s    zfs.Dataset
		want string
	}{
		"new":     {snapshot(written), "42"},
		"old":     {snapshot(map[string]string{"overlayzfs:store": "42"}), "42"},
		"both":    {snapshot(map[string]string{"overlayzfs:layers-guid": "42", "overlayzfs:store": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}), "42"},
		"neither": {snapshot(nil), ""},
	} {
		if got := layersGUID(tt.s); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// TestSameMoment: OpenZFS reads the clock for each dataset of a step, and a receiver has another
// transaction group for each.
func TestSameMoment(t *testing.T) {
	received := func(txg, second uint64, store string) zfs.Dataset {
		return zfs.Dataset{Name: "tank@overlayzfs-stop-x", CreateTXG: txg, Properties: map[string]zfs.Property{
			eventProperty: {Value: zfs.String("stop"), Source: "$recvd"}, layersProperty: {Value: zfs.String(store), Source: "$recvd"},
			"creation": {Value: zfs.Uint(second)},
		}}
	}
	for _, tt := range []struct {
		what string
		a, b zfs.Dataset
		want bool
	}{
		{"one step", received(4, 100, "1"), received(4, 100, "1"), true},
		{"received one after the other", received(4, 100, "1"), received(9, 100, "1"), true},
		{"the second changed during the step", received(4, 100, "1"), received(9, 101, "1"), true},
		{"of another store", received(4, 100, "1"), received(9, 100, "2"), false},
	} {
		if got := isSameMoment(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: %t", tt.what, got)
		}
	}
}
