package contenders

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/integration/mobyproxy"
)

// coldPool is the name of a pool for one store, and coldSize the size of its file.
const (
	coldPool = "race-cold"
	coldSize = 2 << 30
)

// ColdStore is a contender with a pool of its own, whose export empties all caches.
type ColdStore struct {
	*Contender
	vdev string
}

// OpenCold opens another contender of the same kind on a new pool in a file.
func (s *Set) OpenCold(name string) (*ColdStore, error) {
	vdev := filepath.Join(s.dir, coldPool+".img")
	f, err := os.Create(vdev)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(coldSize), f.Close()); err != nil {
		return nil, err
	}
	if err := RunCommand("zpool", "create", "-O", "mountpoint=none", "-O", "compression=lz4", "-O", "xattr=sa", "-O", "acltype=posixacl",
		coldPool, vdev); err != nil {
		return nil, err
	}
	c, err := New(coldPool, s.dir).OpenSecond(name, "cold")
	if err != nil {
		return nil, err
	}
	return &ColdStore{c, vdev}, nil
}

// StopAndBoot ends the plugin, and leaves the store as a boot of the host does: in no
// cache, and last opened at another boot.
func (c *ColdStore) StopAndBoot() error {
	if err := errors.Join(c.StopPlugin(), c.forgetBoot()); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"umount", "-R", c.Root},
		{"zpool", "export", coldPool},
		{"zpool", "import", "-N", "-d", filepath.Dir(c.vdev), coldPool},
		{"mount", "-t", "zfs", "-o", "noatime", c.Dataset, c.Root},
	} {
		if err := RunCommand(command[0], command[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// forgetBoot replaces the boot that the store was last opened at.
func (c *ColdStore) forgetBoot() error {
	return os.WriteFile(filepath.Join(c.Root, mobyproxy.Name, ".overlayzfs", "boot"), []byte("another boot\n"), 0o600)
}

// Close ends the plugin, and destroys the pool.
func (c *ColdStore) Close() error {
	return errors.Join(c.Contender.Close(), RunCommand("umount", "-R", c.Root), RunCommand("zpool", "destroy", coldPool), os.Remove(c.vdev))
}
