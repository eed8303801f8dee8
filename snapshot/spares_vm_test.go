//go:build vm

package snapshot

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// spare makes a dataset that is ready for a limited layer.
func (l lab) spare(n int) string {
	l.t.Helper()
	name := fmt.Sprintf("%s/SPARE%021d", l.layers, n)
	l.create(name, zfs.Properties{quota.LayerProperty: zfs.String(quota.SpareLayer)})
	return name
}

// TestNobodyMissesASpare: a spare has no container, whose files could be lost.
func TestNobodyMissesASpare(t *testing.T) {
	l := newLab(t)
	limited, bare, dropped := l.limited(1), l.spare(1), l.spare(2)
	l.writeAll("then", l.layers, limited)
	name := l.take()
	l.writeAll("later", l.layers, limited)
	l.zfsTool("destroy", snapshotName(bare, name))
	// The driver has dropped one, and the snapshot keeps its dataset.
	parent := l.layers + "/" + quota.RemovedParent
	l.create(parent, nil)
	moved := parent + "/" + keyOf(dropped)
	l.zfsTool("rename", dropped, moved)
	l.zfsTool("set", quota.RemovedProperty+"=1", moved)
	since := l.spare(3)

	p := l.plan(name, Options{})
	if len(p.Missing) > 0 || !slices.Equal(p.RollBack, []string{l.layers, l.records, limited}) {
		t.Errorf("back: %q, missing: %q", p.RollBack, p.Missing)
	}
	if text := p.String(); !strings.Contains(text, "without a container yet, made since, which are destroyed:\n  "+since) || strings.Contains(text, "Datasets of limited containers made since") {
		t.Errorf("the plan:\n%s", text)
	}
	l.back(name, Options{})
	l.wantAll("then", l.layers, limited)
	if l.exists(since) || !l.exists(moved) {
		t.Error("a spare made since is left, or a dropped one came back")
	}
}

// TestASpareGoesBackAsSuch: one in the snapshot may have a layer by now.
func TestASpareGoesBackAsSuch(t *testing.T) {
	l := newLab(t)
	still, taken := l.spare(1), l.spare(2)
	l.write(l.layers, "then")
	name := l.take()
	l.zfsTool("set", quota.LayerProperty+"=layer-2", taken)
	p := l.plan(name, Options{})
	for _, want := range []string{still + "  (ready for a limited container)", taken + "  (a limited container)"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("%q is not in the plan:\n%s", want, p)
		}
	}
	l.back(name, Options{})
}

// TestASpareOfASnapshotOfOthers is in the records of the snapshot. The driver has dropped it
// since, as it does at each start.
func TestASpareOfASnapshotOfOthers(t *testing.T) {
	l := newLab(t)
	limited, spare := l.limited(1), l.spare(1)
	l.limitRecord(limited)
	l.recordLimit(spare, quota.SpareLayer)
	l.writeAll("then", l.layers, l.records, limited)
	l.zfsTool("snapshot", "-r", snapshotName(l.records, "hourly"))
	l.writeAll("later", l.layers, l.records, limited)
	l.zfsTool("destroy", "-r", spare)
	l.back("hourly", Options{Records: l.records})
	l.wantAll("then", l.layers, l.records, limited)
	l.zfsTool("destroy", "-r", limited)
	l.wantRefused("hourly", Options{Records: l.records}, "1 of the 1", limited)
}

// TestMoreLimitedLayersThanAreNamed: a snapshot names 64, and counts all. Spares count for none.
func TestMoreLimitedLayersThanAreNamed(t *testing.T) {
	keys := make([]string, maxKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("LAYER%021d", i)
	}
	named := limitedLayers{maxKeys + 1, keys}
	if named.isComplete() || !named.has(keys[maxKeys-1]) || named.has(fmt.Sprintf("LAYER%021d", maxKeys)) {
		t.Errorf("%+v", named)
	}
	l := newLab(t)
	limited := l.limited(1)
	l.spare(1)
	name := l.take()
	// As if it had been taken with a layer more than it names.
	for _, dataset := range []string{l.layers, l.records, limited} {
		l.zfsTool("set", limitedProperty+"="+limitedLayers{2, []string{keyOf(limited)}}.String(), snapshotName(dataset, name))
	}
	l.wantRefused(name, Options{}, "1 of the 2")
}
