package mount

import (
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/versions"
)

func TestReachedReleases(t *testing.T) {
	for name, want := range map[string]bool{
		"5.4.0-150-generic": false, "5.9.16": false, "5.10.0-28-amd64": true, "6.1.0": true, "6.12.107+deb13-cloud-amd64": true,
		"7.2.12+deb14-cloud-amd64": true, "strange": false,
	} {
		if got := isAtLeast(name, versions.Version{5, 10}); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
