"""Who a process is: its name in the mesh, and the folder that holds its certificate."""
