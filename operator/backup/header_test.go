package backup

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func goodHeader() Header {
	return Header{Version: 1, Name: "overlayzfs-manual-1", Layers: "layers", Datasets: []Dataset{
		{Path: "", GUID: 1, Raw: true, Mountpoint: "/var/lib/docker"}, {Path: "layers", GUID: 2, Raw: true, SharesKey: true, Mountpoint: "legacy"},
		{Path: "layers/ABC", GUID: 3, From: "x", FromGUID: 9}, {Path: "volumes", GUID: 4, Have: true},
	}}
}

func TestHeader(t *testing.T) {
	var out bytes.Buffer
	if err := goodHeader().write(&out); err != nil {
		t.Fatal(err)
	}
	whole := out.String()
	h, err := ReadHeader(strings.NewReader(whole + "rest"))
	if err != nil || h.Missing() != 3 || h.Datasets[2].From != "x" {
		t.Errorf("%+v, %v", h, err)
	}
	damaged := []byte(whole)
	damaged[len(magic)+20] ^= 1
	for name, text := range map[string]string{"nothing": "", "another stream": "overlayzfs-send\n\x01\x00\x00\x00\x01\x00\x00\x00", "short": whole[:len(whole)-1], "damaged": string(damaged), "large": magic + "\xff\xff\xff\xff"} {
		if _, err := ReadHeader(strings.NewReader(text)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// TestHostileHeaders: a receiver creates datasets of the names in a header.
func TestHostileHeaders(t *testing.T) {
	for name, change := range map[string]func(*Header){
		"version":           func(h *Header) { h.Version = 2 },
		"snapshot":          func(h *Header) { h.Name = "a@b" },
		"no snapshot":       func(h *Header) { h.Name = "" },
		"climbs":            func(h *Header) { h.Datasets[1].Path = "../other" },
		"absolute":          func(h *Header) { h.Datasets[3].Path = "/volumes" },
		"a bookmark":        func(h *Header) { h.Datasets[3].Path = "volumes#x" },
		"twice":             func(h *Header) { h.Datasets[3].Path = "layers" },
		"no parent":         func(h *Header) { h.Datasets[2].Path = "other/ABC" },
		"records not first": func(h *Header) { h.Datasets[0].Path = "x" },
		"no layers":         func(h *Header) { h.Layers = "elsewhere" },
		"no GUID":           func(h *Header) { h.Datasets[1].GUID = 0 },
		"half a base":       func(h *Header) { h.Datasets[2].FromGUID = 0 },
		"the base's name":   func(h *Header) { h.Datasets[2].From = "a/b" },
		"a key from beside": func(h *Header) { h.Datasets[1].KeyPath = "volumes" },
		"a key of none":     func(h *Header) { h.Datasets[1].Raw = false },
		"no datasets":       func(h *Header) { h.Datasets = nil },
	} {
		h := goodHeader()
		change(&h)
		var class bool
		err := h.check()
		for _, want := range []error{fault.UnsafeInput, fault.Invalid, fault.Unsupported} {
			class = class || errors.Is(err, want)
		}
		if !class {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCarriedProperties: a stream sets no other property here than it may.
func TestCarriedProperties(t *testing.T) {
	d := Dataset{
		Numbers:  map[string]uint64{"recordsize": 4096, "readonly": 1},
		Texts:    map[string]string{"overlayzfs:layer": "x", "overlayzfs:rollback": "y", "mountpoint": "/", "com.sun:auto-snapshot": "false", "other:x": "z"},
		Snapshot: map[string]string{"overlayzfs:event": "stop", "overlayzfs:receiving": "{}"},
	}
	got := d.received()
	if len(got) != 3 || got["recordsize"].Uint() != 4096 || got["overlayzfs:layer"].String() != "x" || got["com.sun:auto-snapshot"].String() != "false" {
		t.Errorf("%v", got)
	}
	if got := d.receivedOfSnapshot(); len(got) != 1 || got["overlayzfs:event"].String() != "stop" {
		t.Errorf("%v", got)
	}
}

func TestPaths(t *testing.T) {
	for _, s := range []Source{{Records: "tank/docker", Layers: "tank/docker/layers"}, {Records: "tank/docker", Layers: "tank/layers"}, {Records: "tank/docker", Layers: "tank/docker"}} {
		for _, dataset := range []string{s.Records, s.Records + "/volumes", s.Layers, s.Layers + "/ABC"} {
			path := s.pathOf(dataset)
			if got := s.datasetOf(path); got != dataset || strings.HasPrefix(path, "/") {
				t.Errorf("%+v: %s has path %q, which is %s", s, dataset, path, got)
			}
		}
	}
	for _, tt := range [][4]string{
		{"/var/lib/docker/volumes", "/var/lib/docker", "/srv/docker", "/srv/docker/volumes"}, {"/var/lib/docker", "/var/lib/docker", "/srv/docker", "/srv/docker"},
		{"/var/lib/docker2", "/var/lib/docker", "/srv/docker", "/var/lib/docker2"}, {"legacy", "/var/lib/docker", "/srv/docker", "legacy"},
	} {
		if got := replaceRoot(tt[0], tt[1], tt[2]); got != tt[3] {
			t.Errorf("%s from %s to %s: %s", tt[0], tt[1], tt[2], got)
		}
	}
}
