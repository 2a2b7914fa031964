"""python -m inpaint_hub.demo"""

from inpaint_hub.demo.launch import main

if __name__ == "__main__":
    main()
