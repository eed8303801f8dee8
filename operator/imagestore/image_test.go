package imagestore

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/api/types"
	digest "github.com/opencontainers/go-digest"
)

// TestNames compares with the names that dockerd gives images in containerd.
func TestNames(t *testing.T) {
	manifest := digest.FromString("manifest")
	for _, tt := range []struct{ tags, want []string }{
		{nil, []string{"moby-dangling@" + manifest.String()}},
		{[]string{"a:1", "me/b:latest"}, []string{"docker.io/library/a:1", "docker.io/me/b:latest"}},
		{[]string{"example.com:5000/x/y:2"}, []string{"example.com:5000/x/y:2"}},
		{[]string{"a@" + manifest.String(), "a:1"}, []string{"docker.io/library/a:1"}},
		{[]string{"a@" + manifest.String()}, []string{"moby-dangling@" + manifest.String()}},
	} {
		got, err := Names(tt.tags, manifest)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, %v", tt.tags, got, err)
		}
	}
	if got, err := Names([]string{"Not A Name"}, manifest); err == nil || !strings.Contains(err.Error(), "not an image name") {
		t.Errorf("%q, %v", got, err)
	}
	byDigest := "x@" + manifest.String()
	if n := CountTags([]string{"x:1", byDigest, "x"}) - CountTags([]string{byDigest}); n != 2 {
		t.Errorf("%d tags", n)
	}
}

// TestFindUpper takes no directory from mounts that are not overlayzfs's.
func TestFindUpper(t *testing.T) {
	for _, tt := range []struct {
		mount *types.Mount
		want  string
	}{
		{&types.Mount{Type: "bind", Source: "/s/1/diff"}, "/s/1/diff"},
		{&types.Mount{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/s/1/diff", "upperdir=/s/2/diff", "workdir=/s/2/work"}}, "/s/2/diff"},
		{&types.Mount{Type: "overlay", Options: []string{"lowerdir=/s/1/diff:/s/2/diff"}}, ""},
		{&types.Mount{Type: "ext4", Source: "/dev/x", Options: []string{"upperdir=/x"}}, ""},
	} {
		if got := findUpper(tt.mount); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.mount, got, tt.want)
		}
	}
}

// TestKeyedLocks: one key at a time, and keys do not wait for each other.
func TestKeyedLocks(t *testing.T) {
	var k keyedLocks
	release := k.lock("held")
	count := 0
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			unlock := k.lock("counted")
			count++
			unlock()
		})
	}
	all.Wait()
	release()
	if count != 50 {
		t.Errorf("%d", count)
	}
}

// TestSnapshotNames are those that dockerd looks for.
func TestSnapshotNames(t *testing.T) {
	chain := digest.FromString("chain")
	for got, want := range map[string]string{
		ImageSnapshot(chain, "").finalName(): chain.String(), InitSnapshot("abc", "").finalName(): "abc-init",
		ContainerSnapshot("abc", "").finalName(): "abc", InitSnapshot("abc", "").Key: "abc-init-key",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
