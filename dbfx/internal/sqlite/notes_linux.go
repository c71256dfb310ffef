package sqlite

import "syscall"

// networkFileSystem names the file system of path if it is one on which WAL mode
// is not safe. The numbers are those of statfs(2).
func networkFileSystem(path string) string {
	var fs syscall.Statfs_t
	if syscall.Statfs(path, &fs) != nil {
		return ""
	}
	return fileSystems[uint32(fs.Type)]
}

var fileSystems = map[uint32]string{
	0x6969: "NFS", 0xFF534D42: "CIFS", 0xFE534D42: "SMB", 0x517B: "SMB", 0x65735546: "FUSE", 0x01021997: "9P",
	0x00C36400: "Ceph", 0x5346414F: "AFS", 0x0BD00BD0: "Lustre",
}
