package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/gc"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/operator/verify"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
)

func id(c string) string { return strings.Repeat(c, 64) }

func sum(c string) digest.Digest { return digest.Digest("sha256:" + id(c)) }

// makeRecords returns two images that share a layer, two containers, and BuildKit's
// cache.
func makeRecords() *dockerstore.Records {
	at := time.Date(2026, 8, 24, 10, 15, 0, 0, time.UTC)
	return &dockerstore.Records{
		Driver: "overlayzfs",
		Layers: map[digest.Digest]dockerstore.Layer{
			sum("a"): {Chain: sum("a"), Diff: sum("a"), CacheID: id("1"), Size: 124 << 20},
			sum("b"): {Chain: sum("b"), Parent: sum("a"), Diff: sum("7"), CacheID: id("2"), Size: 10 << 20},
			sum("c"): {Chain: sum("c"), Parent: sum("a"), Diff: sum("8"), CacheID: id("3"), Size: 3 << 10},
			sum("d"): {Chain: sum("d"), Diff: sum("d"), CacheID: id("9"), Size: 5},
		},
		Images: []dockerstore.Image{
			{ID: sum("e"), Tags: []string{"web:latest", "web:1"}, Created: at, Chains: []digest.Digest{sum("a"), sum("b")}},
			{ID: sum("f"), Created: at, Chains: []digest.Digest{sum("a"), sum("c")}},
		},
		Containers: []dockerstore.Container{
			{ID: id("4"), Name: "front", Image: sum("e"), Created: at, Running: true},
			{ID: id("5"), Name: "back", Image: sum("e"), Created: at},
		},
		Mounts: []dockerstore.Mount{
			{Name: id("4"), MountID: id("6"), InitID: id("6") + "-init", Parent: sum("b")},
			{Name: id("5"), MountID: id("7"), InitID: id("7") + "-init", Parent: sum("b")},
		},
		OtherLayers: map[string]string{"bk1": dockerstore.BuildCache, id("0"): dockerstore.PendingRemoval},
		Damaged: []dockerstore.Damage{
			{Path: "image/overlayzfs/layerdb/sha512", Err: errors.New("not known of Docker 20.10 to 27")},
		},
	}
}

// makeStore returns the inventory of a store for makeRecords.
func makeStore() *inventory.Inventory {
	ready := func(id, parent string, depth int) overlayzfs.LayerInfo {
		return overlayzfs.LayerInfo{ID: id, Key: strings.Repeat(strings.ToUpper(id[:1]), 26), Parent: parent, Depth: depth, State: overlayzfs.Ready}
	}
	limited := ready(id("6"), id("6")+"-init", 3)
	limited.Limit = &quota.Record{Layer: limited.ID, Mode: quota.Dataset, Limits: quota.Limits{Bytes: 10 << 30, Inodes: 100000}}
	unfinished := ready("bk1", id("1"), 1)
	unfinished.State = overlayzfs.Mutable
	damaged := ready(id("8"), "", 0)
	damaged.Damaged = errors.New("link does not hold a short link's name")
	inv := inventory.Build("tank/docker", []overlayzfs.LayerInfo{
		ready(id("1"), "", 0), ready(id("2"), id("1"), 1), ready(id("3"), id("1"), 1),
		ready(id("6")+"-init", id("2"), 2), limited, ready(id("7")+"-init", id("2"), 2), ready(id("7"), id("7")+"-init", 3), unfinished, damaged,
	}, inventory.FromDocker(makeRecords()))
	for i := range inv.Layers {
		if l := &inv.Layers[i]; l.Damaged == "" {
			l.Size = &inventory.Size{Apparent: max(l.Recorded, 1<<20), Allocated: max(l.Recorded/2, 1<<19), Inodes: 12}
		}
	}
	return inv
}

// TestOutput compares the output of the commands that change nothing. It is long because it is
// one table, with a row for each golden file.
func TestOutput(t *testing.T) {
	inv := makeStore()
	found := func(name string) *inventory.Match {
		f, err := inv.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	totals := inventory.Totals{Dataset: "tank/docker", Pool: inventory.Pool{Name: "tank", Health: "ONLINE", Size: 20 << 30, Allocated: 5 << 30, Free: 15 << 30}}
	totals.Space = inventory.Space{Used: 4 << 30, Logical: 6 << 30, Layers: 3 << 30, Limited: 512 << 20, Snapshots: 512 << 20, Available: 8 << 30}
	totals.Snapshots = inventory.Snapshots{Count: 3, Used: totals.Space.Snapshots}
	inv.CountGroups(&totals)
	totals.Overcommit = inv.ComputeOvercommit(totals.Space.Available)
	for name, show := range map[string]func(*bytes.Buffer) error{
		"ls.txt":          func(out *bytes.Buffer) error { return writeLayers(out, inv.Layers, false, tableFlags{}) },
		"ls-no-trunc.txt": func(out *bytes.Buffer) error { return writeLayers(out, inv.Layers, true, tableFlags{}) },
		"ls.json":         func(out *bytes.Buffer) error { return writeJSON(out, inv) },
		"ls-none.txt":     func(out *bytes.Buffer) error { return writeLayers(out, nil, false, tableFlags{}) },
		"ls-unknown.txt": func(out *bytes.Buffer) error {
			return writeLayers(out, filterKind(inv.Layers, inventory.Unknown), false, tableFlags{})
		},
		"ls-script.txt": func(out *bytes.Buffer) error {
			return writeLayers(out, inv.Layers, true, tableFlags{noHeader: true, exact: true, columns: []string{"layer", "on-disk", "ratio"}})
		},
		"ls-columns.txt": func(out *bytes.Buffer) error {
			return writeLayers(out, inv.Layers, false, tableFlags{columns: []string{"used-by", "layer"}})
		},
		"df-script.txt": func(out *bytes.Buffer) error {
			return (&dfFlags{tableFlags: tableFlags{noHeader: true, exact: true}}).writeKinds(out, totals)
		},
		"df-exact.txt": func(out *bytes.Buffer) error {
			return (&dfFlags{tableFlags: tableFlags{exact: true}}).writeTotals(out, totals)
		},
		"warnings.txt":          func(out *bytes.Buffer) error { writeWarnings(console{err: out}, inv); return nil },
		"tree.txt":              func(out *bytes.Buffer) error { return writeTree(out, buildTree(inv.Layers, inv.TopLayers())) },
		"tree.json":             func(out *bytes.Buffer) error { return writeJSON(out, buildTree(inv.Layers, inv.TopLayers())) },
		"df.txt":                func(out *bytes.Buffer) error { return (&dfFlags{}).writeTotals(out, totals) },
		"df.json":               func(out *bytes.Buffer) error { return writeJSON(out, totals) },
		"inspect-image.txt":     func(out *bytes.Buffer) error { return writeFound(out, found("web:1")) },
		"inspect-image.json":    func(out *bytes.Buffer) error { return writeJSON(out, found("web:1")) },
		"inspect-container.txt": func(out *bytes.Buffer) error { return writeFound(out, found("front")) },
		"inspect-layer.txt":     func(out *bytes.Buffer) error { return writeFound(out, found("1111")) },
		"inspect-damaged.txt":   func(out *bytes.Buffer) error { return writeFound(out, found(id("8"))) },
		"gc.txt":                func(out *bytes.Buffer) error { return writePlan(out, makePlan(inv, "")) },
		"gc.json":               func(out *bytes.Buffer) error { return writeJSON(out, makePlan(inv, "")) },
		"gc-done.json": func(out *bytes.Buffer) error {
			return writeJSON(out, gcReport{gc.Plan{Dataset: "tank/docker", Root: "/var/lib/docker", Driver: "overlayzfs", Layers: []inventory.Layer{}, Remaining: 1}, nonNil([]string(nil))})
		},
		"gc-refused.txt": func(out *bytes.Buffer) error { return writePlan(out, makePlan(inv, "x")) },
		"verify.txt":     func(out *bytes.Buffer) error { return writeVerdict(out, makeVerdict(inv), inv) },
		"verify.json":    func(out *bytes.Buffer) error { return writeJSON(out, makeVerdict(inv)) },
		"doctor.txt":     func(out *bytes.Buffer) error { return writeFindings(out, makeFindings(), false) },
		"doctor-all.txt": func(out *bytes.Buffer) error { return writeFindings(out, makeFindings(), true) },
		"doctor.json":    func(out *bytes.Buffer) error { return writeJSON(out, makeFindings()) },
	} {
		var out bytes.Buffer
		if err := show(&out); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.String())
	}
}

// makePlan returns gc's plan, which a warning makes a refused one.
func makePlan(inv *inventory.Inventory, warning string) gc.Plan {
	read := *inv
	read.Missing, read.Warnings = nil, nil
	if warning != "" {
		read.Warnings = []string{warning}
	}
	return gc.Decide(&read, gc.Evidence{Root: "/var/lib/docker", Driver: "overlayzfs", Tokens: []string{"x"}, Engine: overlayzfs.Engine{Token: "x"}})
}

func makeVerdict(inv *inventory.Inventory) verdict {
	layers := []dockerstore.Layer{{CacheID: id("1"), Size: 124 << 20}, {CacheID: id("2"), Size: 10 << 20}, {CacheID: id("9")}, {CacheID: id("3")}, {CacheID: id("8")}}
	return newVerdict([]verify.Result{
		{ID: id("1"), Chain: sum("a"), Diff: sum("a"), Status: verify.OK, Proof: verify.ByChecksums},
		{ID: id("2"), Chain: sum("b"), Diff: sum("7"), Status: verify.Changed, Reason: `file integrity checksum failed for "etc/passwd"`},
		{ID: id("9"), Chain: sum("d"), Diff: sum("d"), Status: verify.Missing, Reason: "the store does not have it"},
		{ID: id("3"), Chain: sum("c"), Diff: sum("8"), Status: verify.Unproven, Reason: "unexpected EOF"},
		{ID: id("8"), Status: verify.Removed},
	}, layers, inv)
}

func makeFindings() []doctor.Finding {
	return []doctor.Finding{
		{Check: "pool health", Severity: doctor.Broken, Found: "tank is SUSPENDED", Reason: "its devices are gone, and nothing can be read or written", Remedy: "zpool status tank; zpool clear tank"},
		{Check: "property", Severity: doctor.Warning, Found: "compression=off", Reason: "layers compress to half", Remedy: "zfs set compression=lz4 tank/docker"},
		{Check: "store", Severity: doctor.Note, Found: "x"},
		{Check: "kernel", Found: "Linux 6.12.107, with overlayfs"},
	}
}

// TestVerdictExitCode: the worst layer decides.
func TestVerdictExitCode(t *testing.T) {
	for code, statuses := range map[int][]verify.Status{
		0: {verify.OK, verify.Removed}, exitWarning: {verify.OK, verify.Unproven}, exitBroken: {verify.Unproven, verify.Missing},
	} {
		var v verdict
		for _, s := range statuses {
			v.Layers = append(v.Layers, verify.Result{Status: s})
		}
		if got := exitCode(v.findings()); got != code {
			t.Errorf("%v: %d, want %d", statuses, got, code)
		}
	}
	fine := []verify.Result{{Status: verify.OK}}
	for code, v := range map[int]verdict{
		exitWarning: {Layers: fine, Warnings: []string{"a layer's record"}},
		exitBroken:  {Layers: fine, Warnings: []string{"a layer's record"}, Gaps: []dockerstore.Gap{{Record: "image x", Missing: "y"}}},
	} {
		if got := exitCode(v.findings()); got != code {
			t.Errorf("%+v: %d, want %d", v, got, code)
		}
	}
}

// TestSelectLayers goes by Docker's records, not by the store.
func TestSelectLayers(t *testing.T) {
	records := makeRecords()
	inv := inventory.Build("tank/docker", []overlayzfs.LayerInfo{{ID: id("1")}, {ID: id("8")}, {ID: "bk1"}}, inventory.FromDocker(records))
	for name, want := range map[string][]digest.Digest{
		"web:1": {sum("a"), sum("b")}, "front": {sum("a"), sum("b")}, string(sum("f")): {sum("a"), sum("c")}, id("1"): {sum("a")},
		"": {sum("a"), sum("b"), sum("c"), sum("d")},
	} {
		layers, gaps, err := verify.SelectLayers(records, inv, strings.Fields(name))
		var got []digest.Digest
		for _, l := range layers {
			got = append(got, l.Chain)
		}
		if !slices.Equal(got, want) || err != nil || len(gaps) > 0 {
			t.Errorf("%q: %q, %v, %v", name, got, gaps, err)
		}
	}
	for _, name := range []string{"bk1", id("8")} {
		if _, _, err := verify.SelectLayers(records, inv, []string{name}); err == nil {
			t.Errorf("of %s something is compared", name)
		}
	}
	delete(records.Layers, sum("b"))
	inv = inventory.Build("tank/docker", nil, inventory.FromDocker(records))
	for _, name := range []string{"web:1", "front", ""} {
		layers, gaps, err := verify.SelectLayers(records, inv, strings.Fields(name))
		if err != nil || len(gaps) == 0 || !strings.Contains(gaps[len(gaps)-1].Missing, string(sum("b"))) {
			t.Errorf("%q: %v, %v, %v", name, layers, gaps, err)
		}
	}
}
