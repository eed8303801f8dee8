package dockerstore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
)

// TestGaps loses one record after another that others count on.
func TestGaps(t *testing.T) {
	for name, tt := range map[string]struct {
		lose func(s testRoot, base, top digest.Digest)
		of   []string
	}{
		"nothing":               {func(testRoot, digest.Digest, digest.Digest) {}, nil},
		"a container's mount":   {func(s testRoot, _, _ digest.Digest) { s.remove("image/overlayzfs/layerdb/mounts") }, []string{"container " + hexID("c") + " (web)"}},
		"all layers":            {func(s testRoot, _, _ digest.Digest) { s.remove("image/overlayzfs/layerdb/sha256") }, []string{"image ", "writable layer "}},
		"the uppermost layer":   {func(s testRoot, _, top digest.Digest) { s.remove("image/overlayzfs/layerdb/sha256/" + top.Encoded()) }, []string{"image ", "writable layer "}},
		"the lowest layer":      {func(s testRoot, base, _ digest.Digest) { s.remove("image/overlayzfs/layerdb/sha256/" + base.Encoded()) }, []string{"image ", "layer "}},
		"a dead container's":    {func(s testRoot, _, _ digest.Digest) { s.remove("image/overlayzfs/layerdb/mounts"); s.die(hexID("c")) }, nil},
		"all of another driver": {func(s testRoot, _, top digest.Digest) { s.container(hexID("d"), "far", "lost", "", top) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestRoot(t)
			base := s.layer("", "base", hexID("base"))
			top := s.layer(base, "top", hexID("top"))
			image := s.image("x:latest", "base", "top")
			s.container(hexID("c"), "web", driver, image, top)
			tt.lose(s, base, top)
			records := s.read()
			gaps := records.Gaps()
			if len(gaps) != len(tt.of) || len(records.Damaged) > 0 {
				t.Fatalf("%v, %v", gaps, records.Damaged)
			}
			for i, gap := range gaps {
				if !strings.HasPrefix(gap.Record, tt.of[i]) {
					t.Errorf("%v, want %s", gap, tt.of[i])
				}
			}
			if lost := records.OtherDrivers["lost"] != ""; lost != (name == "all of another driver") {
				t.Errorf("elsewhere: %v", records.OtherDrivers)
			}
		})
	}
}

func (s testRoot) remove(name string) {
	s.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
		s.Fatal(err)
	}
}

// die leaves a container as a removal does that was cut short.
func (s testRoot) die(id string) {
	s.Helper()
	s.write("containers/"+id+"/config.v2.json", fmt.Sprintf(`{"State":{"Dead":true},"ID":%q,"Driver":"overlayzfs"}`, id))
}
