package snapshotter

import (
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

func TestLimitOptions(t *testing.T) {
	container := "moby/12/" + strings.Repeat("0123456789abcdef", 4)
	preset := overlayzfs.Limits{Bytes: 10 << 30, Inodes: 1000}
	unlimited := overlayzfs.CreateOptions{ReadWrite: true, Exempt: true}
	with := func(options map[string]string) overlayzfs.CreateOptions {
		return overlayzfs.CreateOptions{ReadWrite: true, StorageOpt: options}
	}
	none := map[string]string{}
	spaces := map[string]overlayzfs.Limits{"k8s.io": {Bytes: 20 << 20}, "free": {}}
	for name, tt := range map[string]struct {
		limits Limits
		kind   snapshots.Kind
		key    string
		base   bool
		labels map[string]string
		want   overlayzfs.CreateOptions
	}{
		"container":                {limits: Limits{Default: preset}, key: container, want: with(none)},
		"container without preset": {key: container, want: with(none)},
		"someone else's":           {limits: Limits{Default: preset}, key: "moby/12/somebody", want: unlimited},
		"view":                     {limits: Limits{Default: preset}, kind: snapshots.KindView, key: container, want: unlimited},
		"on nothing":               {limits: Limits{Default: preset}, key: container, base: true, want: unlimited},
		"unpacking": {limits: Limits{Default: preset}, key: "k8s.io/3/extract-1-ab sha256:0",
			labels: map[string]string{sizeLabel: "5M"}, want: unlimited},
		"a container that claims to unpack": {limits: Limits{Default: preset}, key: container,
			labels: map[string]string{snapshots.LabelSnapshotRef: "sha256:0"}, want: with(none)},
		"label": {key: "x", labels: map[string]string{sizeLabel: "5M"}, want: with(map[string]string{"size": "5M", "inodes": "0"})},
		"label on a container": {limits: Limits{Default: preset}, key: container,
			labels: map[string]string{sizeLabel: "5M"}, want: with(map[string]string{"size": "5M"})},
		"containerd's label": {key: "x", labels: map[string]string{snapshots.LabelSnapshotMaxSize: "5242880"},
			want: with(map[string]string{"size": "5242880", "inodes": "0"})},
		"ours over containerd's": {key: "x", labels: map[string]string{snapshots.LabelSnapshotMaxSize: "5242880", sizeLabel: "6M"},
			want: with(map[string]string{"size": "6M", "inodes": "0"})},
		"a hint on nothing": {key: "x", base: true, labels: map[string]string{snapshots.LabelSnapshotMaxSize: "5242880"}, want: unlimited},
		"more than the preset, allowed": {limits: Limits{Default: preset, Labels: AnyLabels}, key: container,
			labels: map[string]string{sizeLabel: "20G"}, want: with(map[string]string{"size": "20G"})},
		"name space": {limits: Limits{Default: preset, Namespaces: spaces}, key: "k8s.io/3/" + clientKey(container),
			want: with(map[string]string{"size": "20971520", "inodes": "0"})},
		"another name space": {limits: Limits{Default: preset, Namespaces: spaces}, key: container, want: with(none)},
		"no name space":      {limits: Limits{Default: preset, Namespaces: spaces}, key: clientKey(container), want: with(none)},
		"no limit in a name space": {limits: Limits{Default: preset, Namespaces: spaces}, key: "free/3/" + clientKey(container),
			want: with(map[string]string{"size": "0", "inodes": "0"})},
		"less than the name space's": {limits: Limits{Default: preset, Namespaces: spaces}, key: "k8s.io/3/" + clientKey(container),
			labels: map[string]string{sizeLabel: "5M"}, want: with(map[string]string{"size": "5M", "inodes": "0"})},
		"someone else's in a name space": {limits: Limits{Namespaces: spaces}, key: "k8s.io/3/somebody", want: unlimited},
		"ignored": {limits: Limits{Default: preset, Labels: IgnoreLabels}, key: container,
			labels: map[string]string{sizeLabel: "nonsense"}, want: with(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			kind, parent := tt.kind, "base"
			if kind == snapshots.KindUnknown {
				kind = snapshots.KindActive
			}
			if tt.base {
				parent = ""
			}
			got, err := tt.limits.options(kind, tt.key, parent, tt.labels)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLabelsThatAreRefused(t *testing.T) {
	preset := Limits{Default: overlayzfs.Limits{Bytes: 1 << 30, Inodes: 1000}}
	for name, labels := range map[string]map[string]string{
		"more than the preset":       {sizeLabel: "2G"},
		"no limit":                   {sizeLabel: "0"},
		"more files than the preset": {inodesLabel: "1001"},
		"no limit of files":          {inodesLabel: "0"},
		"no size":                    {sizeLabel: "much"},
		"below zero":                 {sizeLabel: "-1"},
		"less than can be kept":      {sizeLabel: "1K"},
		"no number of files":         {inodesLabel: "1e3"},
		"containerd's, no number":    {snapshots.LabelSnapshotMaxSize: "1G"},
		"containerd's, overflow":     {snapshots.LabelSnapshotMaxSize: "9223372036854775808"},
	} {
		if o, err := preset.options(snapshots.KindActive, "x", "base", labels); err == nil {
			t.Errorf("%s: %+v", name, o)
		}
		inSpace := Limits{Namespaces: map[string]overlayzfs.Limits{"k8s.io": preset.Default}}
		if o, err := inSpace.options(snapshots.KindActive, "k8s.io/3/x", "base", labels); err == nil {
			t.Errorf("%s in a name space: %+v", name, o)
		}
	}
}

// TestAHintThatCannotBeFollowed is passed over; what is asked for is refused.
func TestAHintThatCannotBeFollowed(t *testing.T) {
	f := newFakeStore()
	s := openFake(t, t.TempDir(), f, Options{})
	image(t, s, "base")
	hint := snapshots.WithLabels(map[string]string{snapshots.LabelSnapshotMaxSize: "5242880"})
	for key, want := range map[string]string{"followed": "5242880", "passed over": ""} {
		if want == "" {
			f.off = errTest
		}
		if _, err := s.Prepare(t.Context(), key, "base", hint); err != nil {
			t.Fatal(err)
		}
		r, err := s.find(t.Context(), key)
		if err != nil || f.layers[r.id].options.StorageOpt["size"] != want || r.info.Labels[snapshots.LabelSnapshotMaxSize] == "" {
			t.Errorf("%s: %+v, %v", key, f.layers[r.id].options, err)
		}
		f.off = nil
	}
	if _, err := (Limits{}).options(snapshots.KindActive, "x", "base", map[string]string{snapshots.LabelSnapshotMaxSize: "1000"}); err == nil || !strings.Contains(err.Error(), snapshots.LabelSnapshotMaxSize) {
		t.Errorf("the label is not named: %v", err)
	}
}

func TestOwnKey(t *testing.T) {
	for key, want := range map[string]string{
		"default/12/abc": "abc", "default/12/a/b": "a/b", "abc": "abc", "a/b": "a/b", "a/b/c": "a/b/c",
		"a/012/c": "a/012/c", "/1/x": "x", "": "", "a/1/": "",
	} {
		if got := clientKey(key); got != want {
			t.Errorf("%q: %q", key, got)
		}
	}
}

func FuzzLimitLabels(f *testing.F) {
	f.Add("ns/1/key", "10M", "100", "1048576")
	f.Add("extract-1", "1E", "-1", "9999999999999999999")
	f.Fuzz(func(t *testing.T, key, size, inodes, most string) {
		l := Limits{Default: overlayzfs.Limits{Bytes: 1 << 30}}
		o, err := l.options(snapshots.KindActive, key, "base", map[string]string{
			sizeLabel: size, inodesLabel: inodes, snapshots.LabelSnapshotMaxSize: most,
		})
		if err == nil && o.Exempt != isUnpackKey(key) {
			t.Errorf("key %q, size %q: %+v", key, size, o)
		}
	})
}
