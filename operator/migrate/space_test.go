package migrate

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestPeak: a chain is there twice before its first layer goes; of images side by side
// only what is carried at a time.
func TestPeak(t *testing.T) {
	sizes := map[string]int64{}
	var chain, apart []item
	for i := range 4 {
		id := fmt.Sprint(i)
		sizes[id] = 10
		it := item{id: id}
		apart = append(apart, it)
		if i > 0 {
			it.parent = fmt.Sprint(i - 1)
		}
		chain = append(chain, it)
	}
	for _, tt := range []struct {
		items  []item
		atOnce int
		want   int64
	}{{chain, 1, 40}, {apart, 1, 10}, {apart, 2, 20}, {apart, 9, 40}, {nil, 1, 0}} {
		if got := peakUsage(tt.items, sizes, tt.atOnce); got != tt.want {
			t.Errorf("%d items, %d at once: %d, want %d", len(tt.items), tt.atOnce, got, tt.want)
		}
	}
}

// TestContainersCountInTheSpaceNeeded: their layers, too, want room, and have to fit below
// their limits.
func TestContainersCountInTheSpaceNeeded(t *testing.T) {
	h := newVFSHost(t)
	bytes := func(limit string) (*Plan, error) {
		h.write("containers/"+hexID("web")+"/hostconfig.json", fmt.Sprintf(`{"StorageOpt":{"size":%q}}`, limit))
		p := h.planning(Request{From: "vfs"})
		h.no(p.chooseDrivers())
		p.records = h.records("vfs")
		h.no(p.countRecords())
		h.no(p.root.syncStorage(t.Context())) // ZFS knows only then what files take
		h.no(p.checkLayersPresent())
		p.plan.Available = 1 << 20
		p.compareSpace("here")
		return p.plan, p.plan.CheckObstacles()
	}
	before, err := bytes("1G")
	h.no(err)
	large := make([]byte, 2<<20)
	rand.Read(large) // what no file system makes smaller
	h.write("vfs/dir/"+hexID("mount of web")+"/data/large", string(large))
	after, err := bytes("1G")
	// A file takes a few blocks more than its content.
	if grown := after.Bytes - before.Bytes; grown < 2<<20 || grown > 3<<20 || err == nil || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("%d bytes, then %d; %v", before.Bytes, after.Bytes, err)
	}
	if _, err := bytes("1M"); err == nil || !strings.Contains(err.Error(), "its limit of 1048576") {
		t.Errorf("below a limit of 1M: %v", err)
	}
	h.no(os.Remove(h.path("vfs/dir/" + hexID("mount of web") + "/data/large")))
	h.write("vfs/dir/"+hexID("mount of web")+"/data/sparse", "x")
	h.no(os.Truncate(h.path("vfs/dir/"+hexID("mount of web")+"/data/sparse"), 1<<40))
	if plan, err := bytes("1M"); err != nil {
		t.Errorf("a file with a hole: %d bytes, %v", plan.Bytes, err)
	}
}

// TestHolesOfImagesTakeNoRoom: the size that Docker recorded has them.
func TestHolesOfImagesTakeNoRoom(t *testing.T) {
	const at = 64 << 20
	h := newHost(t, "vfs")
	base := h.layerOf("", "base", h.sparseTar("log", at))
	h.image("x:latest", base)
	h.write("image/vfs/layerdb/sha256/"+base.Encoded()+"/size", fmt.Sprint(at+4))
	h.write("vfs/dir/base/log", "")
	f, err := os.OpenFile(h.path("vfs/dir/base/log"), os.O_WRONLY, 0)
	h.no(err)
	_, err = f.WriteAt([]byte("last"), at)
	h.no(errors.Join(err, f.Sync(), f.Close()))
	p := h.planning(Request{From: "vfs"})
	h.no(p.chooseDrivers())
	p.records = h.records("vfs")
	h.no(p.countRecords())
	h.no(p.root.syncStorage(t.Context()))
	h.no(p.checkLayersPresent())
	if p.plan.Bytes > 1<<20 || p.plan.Bytes < 0 {
		t.Errorf("%d bytes", p.plan.Bytes)
	}
}
