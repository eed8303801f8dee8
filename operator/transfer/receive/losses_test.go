package receive

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/operator/host"
)

// TestLayersWithoutRecordsAreNotDropped: dockerd's data-root is another than the
// one that was looked at.
func TestLayersWithoutRecordsAreNotDropped(t *testing.T) {
	where := host.Location{Dataset: "tank/docker", Root: filepath.Join(t.TempDir(), "none"), Driver: "overlayzfs"}
	for range 2 {
		if _, _, recorded, err := compareRecords(where); recorded || err != nil {
			t.Errorf("%v, %v", recorded, err)
		}
		if err := os.MkdirAll(where.Root, 0o700); err != nil { // a data-root without the driver's records
			t.Fatal(err)
		}
	}
	if first := refuseUnrecorded(where, []string{"made"}); len(first) != 1 || !strings.Contains(first[0], "--root") {
		t.Errorf("%q", first)
	}
	if first := refuseUnrecorded(where, nil); len(first) > 0 {
		t.Errorf("%q", first)
	}
}
