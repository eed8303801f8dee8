package overlayzfs

import "testing"

func TestRefs(t *testing.T) {
	r := refs{counts: map[string]*ref{"found": {found: 1}}}
	if n := r.add("found"); n != 2 {
		t.Errorf("a found mount and a get make %d", n)
	}
	if n := r.drop("found"); n != 1 || r.held("found") != 0 {
		t.Errorf("%d left, %d of them held", n, r.held("found"))
	}
	if n := r.drop("found"); n != 0 {
		t.Errorf("%d left", n)
	}
	for range 2 { // more puts than gets
		if n := r.drop("found"); n != 0 {
			t.Errorf("%d left after too many puts", n)
		}
	}
	if n := r.add("found"); n != 1 {
		t.Errorf("after too many puts a get makes %d", n)
	}
}
