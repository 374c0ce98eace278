# Becomes a container's first process, which waits until its input is closed. Run by user 65534, who runs nothing else.
# Arguments: none.
# Prints: nothing.
# Exit code: 0 when the input is closed.

# In the builder image there is a cat that nobody but root can read: the kernel gives nobody the files of a process whose program
# its user can't read (prctl(2), PR_SET_DUMPABLE), not even those who become that user, as install scripts can.
waiting=/usr/local/lib/vieter/cat
[ ! -x "$waiting" ] || exec "$waiting"
exec cat
