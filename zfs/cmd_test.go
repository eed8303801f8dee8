package zfs

import (
	"strings"
	"testing"
)

func TestNamesStayInTheirField(t *testing.T) {
	c := newCommand()
	c.setUint64(offSrc, 7)
	c.setName(strings.Repeat("n", sizeName+10))
	if got := c.name(); len(got) != sizeName-1 {
		t.Errorf("a name of %d bytes came back", len(got))
	}
	if c.uint64(offSrc) != 7 {
		t.Error("the name ran into the next field")
	}
	c.setName("a")
	if got := c.name(); got != "a" {
		t.Errorf("a shorter name left a rest: %q", got)
	}
	for _, b := range c[1:sizeName] {
		if b != 0 {
			t.Fatal("a shorter name left a rest behind its NUL")
		}
	}
}

func TestStatsAreRead(t *testing.T) {
	c := newCommand()
	s := c.stats()
	le.PutUint64(s[offStatsClones:], 1)
	le.PutUint64(s[offStatsTXG:], 2)
	le.PutUint64(s[offStatsGUID:], 3)
	le.PutUint32(s[offStatsType:], objsetFilesystem)
	s[offStatsIsSnapshot] = 1
	copy(s[offStatsOrigin:], "tank/a@b")
	d := newDataset("tank/c@d", c.stats(), nil)
	if d.Clones != 1 || d.CreateTXG != 2 || d.GUID != 3 || d.Type != Snapshot || d.Origin != "tank/a@b" {
		t.Errorf("%+v", d)
	}
	s[offStatsIsSnapshot] = 0
	le.PutUint32(s[offStatsType:], objsetVolume)
	if d := newDataset("tank/v", c.stats(), nil); d.Type != Volume {
		t.Errorf("%+v", d)
	}
}
