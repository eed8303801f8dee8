package vm

import (
	"slices"
	"testing"
)

func TestLoadOrder(t *testing.T) {
	const dependencies = `kernel/fs/overlayfs/overlay.ko:
kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_modern.ko kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
`
	want := []string{
		"kernel/drivers/virtio/virtio.ko", "kernel/drivers/virtio/virtio_ring.ko", "kernel/drivers/virtio/virtio_modern.ko",
		"kernel/drivers/virtio/virtio_pci.ko", "kernel/drivers/block/virtio_blk.ko.xz",
	}
	if got := loadOrder(dependencies, bootDrivers); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if got := moduleName("kernel/drivers/block/virtio_blk.ko.xz"); got != "virtio_blk" {
		t.Errorf("the module's name is %q", got)
	}
}
