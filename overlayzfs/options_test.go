package overlayzfs

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

func TestParseOptions(t *testing.T) {
	got, err := ParseOptions([]string{
		"OverlayZFS.Dataset= tank/layers ", "overlayzfs.size=10G", "overlayzfs.inodes=100000", "overlayzfs.quota=dataset",
		"overlayzfs.sync=disabled", "overlayzfs.snapshots=stop:3,daily:7", "overlayzfs.snapshots.records=tank/docker",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Options{
		Dataset: "tank/layers", Limits: Limits{Bytes: 10 << 30, Inodes: 100_000}, Quota: quota.Dataset, Sync: "disabled",
		Snapshots: snapshot.Policy{snapshot.Stop: 3, snapshot.Daily: 7}, Records: "tank/docker",
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Options{}, "IDs", "MayResume", "IsStray", "MayBeTorn")); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	tests := []struct {
		option string
		class  fault.Class
		says   string
	}{
		{"dataset", fault.Invalid, "key=value"},
		{"overlayzfs.colour=red", fault.Invalid, `unknown storage option "overlayzfs.colour"`},
		{"overlay2.size=1G", fault.Invalid, "unknown storage option"},
		{"overlayzfs.dataset=", fault.Invalid, "is empty"},
		{"overlayzfs.dataset=tank@now", fault.Invalid, "snapshot"},
		{"overlayzfs.size=lots", fault.Invalid, "want a size"},
		{"overlayzfs.size=-1G", fault.Invalid, "want a size"},
		{"overlayzfs.size=4k", fault.Invalid, "smallest"},
		{"overlayzfs.inodes=many", fault.Invalid, "number of files"},
		{"overlayzfs.quota=xfs", fault.Invalid, "auto, project, dataset or off"},
		{"overlayzfs.sync=always", fault.Invalid, "standard or disabled"},
		{"overlayzfs.snapshots=lunch:3", fault.Invalid, "lunch"},
		{"overlayzfs.snapshots.records=/var/lib/docker", fault.Invalid, "/var/lib/docker"},
	}
	for _, tt := range tests {
		_, err := ParseOptions([]string{tt.option})
		if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want class %q saying %q", tt.option, err, tt.class, tt.says)
		}
	}
}

func TestCreateOptionsRefuse(t *testing.T) {
	tests := []struct{ key, value string }{
		{"size", "fifty"},
		{"size", ""},
		{"size", "-1"},
		{"size", "1k"},
		{"inodes", "3.5"},
		{"inodes", "1"},
		{"colour", "red"},
		{"dedup", "on"},
		{"recordsize", "16M"},
		{"recordsize", "100000"},
		{"compression", "zstd-99"},
		{"compression", "lz4 mountpoint=/etc"},
		{"sync", "never"},
		{"logbias", ""},
		{"primarycache", "some"},
	}
	for _, tt := range tests {
		_, err := CreateOptions{StorageOpt: map[string]string{tt.key: tt.value}}.parseLimit()
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.key) {
			t.Errorf("%s=%s: %v, want one that names the option", tt.key, tt.value, err)
		}
	}
}

func TestLimits(t *testing.T) {
	preset := Limits{Bytes: 1 << 30, Inodes: 500}
	tests := map[string]struct {
		give map[string]string
		want quota.Spec
	}{
		"the preset ones":    {nil, quota.Spec{Limits: preset}},
		"its own size":       {map[string]string{"size": "2G"}, quota.Spec{Limits: Limits{Bytes: 2 << 30, Inodes: 500}}},
		"none":               {map[string]string{"Size": "0", "inodes": "0"}, quota.Spec{}},
		"xino alone":         {map[string]string{"size": "0", "inodes": "0", "xino": "off"}, quota.Spec{XIno: "off"}},
		"a property besides": {map[string]string{"recordsize": "16k"}, quota.Spec{Limits: preset, Properties: quota.Properties{"recordsize": "16k"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			limit, err := CreateOptions{StorageOpt: tt.give}.parseLimit()
			if err != nil {
				t.Fatal(err)
			}
			limit.fillUnset(preset)
			if diff := cmp.Diff(tt.want, limit.Spec); diff != "" {
				t.Errorf("limit (-want +got):\n%s", diff)
			}
		})
	}
}
