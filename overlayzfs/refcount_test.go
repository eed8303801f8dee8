package overlayzfs

import (
	"os"
	"testing"
)

func newRefs(t *testing.T) *refCounts {
	t.Helper()
	h := home(t.TempDir())
	if err := os.MkdirAll(h.privatePath(refsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	return &refCounts{home: h, counts: map[string]int{}, files: map[string]bool{}}
}

func TestRefs(t *testing.T) {
	r := newRefs(t)
	r.add("a")
	r.add("a")
	for i, want := range []int{1, 0, 0, 0} { // more puts than gets
		if n := r.drop("a"); n != want {
			t.Errorf("put %d leaves %d, want %d", i, n, want)
		}
	}
	r.add("a")
	if n := r.drop("a"); n != 0 {
		t.Errorf("after too many puts a get and a put leave %d", n)
	}
}

func TestRefsAreOnDisk(t *testing.T) {
	r := newRefs(t)
	for range 4 {
		r.add("a")
	}
	r.drop("a")
	if n := r.readCount("a"); n != 2 {
		t.Errorf("noted %d of 2 beside the first", n)
	}
	r.forget("a")
	if n := r.readCount("a"); n != 0 {
		t.Errorf("noted %d of a layer that is forgotten", n)
	}
	if left, err := os.ReadDir(r.home.privatePath(refsDir)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
